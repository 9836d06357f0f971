# bash completion for carrel: source this file, or copy it to /usr/share/bash-completion/completions/carrel
_carrel() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd=${COMP_WORDS[1]} options=
    COMPREPLY=()
    case $prev in
    --home | --into) mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
    --key-file | import) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
    --port | -p | --top-k | -k) return ;;
    esac
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W 'up stop status doctor docs queue sources ingest search ask explain config verify backup restore leaktest key user tenant eval vectors erase hold quarantine usage limits encoder model webhook audit --help --version' -- "$cur")
        return
    fi
    case $cmd in
    up) options='--home --port --quiet --help' ;;
    stop) options='--home --quiet --help' ;;
    status | doctor | verify) options='--home --json --help' ;;
    docs) options='versions --home --json --key-file --watch --help' ;;
    queue) options='pause resume --home --json --key-file --watch --help' ;;
    sources) options='poll --home --json --key-file --help' ;;
    ingest) options='--home --json --key-file --watch --to --as --replace --help' ;;
    search) options='--home --json --key-file --top-k --collection --label --tag --language --format --under --author --hash --from --until --as-of --help' ;;
    explain) options='--home --json --key-file --top-k --document --collection --label --tag --language --format --under --author --hash --from --until --as-of --help' ;;
    ask) options='--home --json --key-file --collection --label --tag --language --format --under --author --hash --from --until --as-of --help' ;;
    backup) options='list check --home --json --key-file --tenant --with-watch --models --keep --help' ;;
    restore) options='--home --json --key-file --tenant --into --as --backup --help' ;;
    key) options='create list revoke --home --json --key-file --groups --role --tenant --admin --scopes --collections --addresses --owner --days --help' ;;
    user) options='add list role password disable enable remove totp-reset --home --json --key-file --groups --role --tenant --help' ;;
    tenant) options='create list key keyless --home --json --key-file --help' ;;
    eval) options='run history compare default fused bm25 text dense --home --json --key-file --help' ;;
    vectors) options='export import --home --tenant --help' ;;
    erase) options='list show allow verify public-key --home --json --key-file --document --path --subject --subject-file --except --all-copies --keep-copies --dry-run --yes --public-key --help' ;;
    quarantine) options='list release --home --json --key-file --help' ;;
    webhook) options='list add remove on off test log again secret --home --json --key-file --help' ;;
    hold) options='add list remove --home --json --key-file --document --path --collection --reason --help' ;;
    leaktest) options='--home --json --key-file --every --rules --help' ;;
    usage) options='csv --home --json --key-file --tenant --help' ;;
    limits) options='list set reset key user team tenant --home --json --key-file --tenant --help' ;;
    encoder) options='list build cancel compare promote rollback remove --dims --model --against --force --watch --home --json --key-file --help' ;;
    model) options='import list verify remove show plan bench eval quantize --prompt --generate --threads --streams --device --context --users --vram --shape --weights --kv --home --json --as --name --query-prefix --passage-prefix --force --help' ;;
    audit) options='verify show export tail head key --folder --head --secret --public-key --count --tenant --home --json --help' ;;
    config) options='check default reference --home --help' ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
}
complete -F _carrel carrel ./carrel
