/* The languages: their stemmer, and their function words (articles, pronouns, prepositions,
 * auxiliaries, question words), which weigh less in a query and tell which language a text is in.
 * Written without apostrophes, as the tokenizer cuts. */
#include "base/text/internal.h"

const struct text_language text_languages[] = {
    {"", NULL, true, ""},
    {"en", "english", true,
     "a an the of in on at to for from by with about into as and or but not if than that this "
     "these "
     "those it its he she they them their his her i you we our your my me is are was were be been "
     "being has have had do does did can could will would should may might must what which who "
     "whom "
     "whose when where why how there s t"},
    {"de", "german", true,
     "der die das den dem des ein eine einen einem einer eines und oder aber nicht kein keine in "
     "im "
     "an am auf aus bei mit nach von vom vor zu zum zur für über unter durch als wie wenn dass daß "
     "ob "
     "ist sind war waren wird werden wurde wurden hat haben hatte kann können soll muss er sie es "
     "ich "
     "wir ihr sich sein seine ihre was wer wen wem wo wann warum welche welcher welches wieviel"},
    {"fr", "french", true,
     "le la les l un une des du de d au aux à en dans sur sous par pour avec sans et ou mais ne "
     "pas "
     "que qu qui quoi quel quelle quels quelles quand où comment pourquoi combien est sont était "
     "étaient être a ont avait avoir il elle ils elles on je tu nous vous se s ce c cet cette ces "
     "son "
     "sa ses leur leurs n y dont si comme plus"},
    {"es", "spanish", true,
     "el la los las lo un una unos unas de del al a en por para con sin sobre entre y e o u pero "
     "no "
     "que se su sus le les es son era eran fue fueron ser está están ha han había haber hay él "
     "ella "
     "ellos ellas yo tú nosotros este esta estos estas ese esa qué quién quiénes cuál cuáles "
     "cuándo "
     "cuánto cuántos cuántas cuánta dónde cómo como más si desde"},
    {"it", "italian", true,
     "il lo la i gli le l un uno una di del dello della dei degli delle dell a al allo alla ai "
     "alle "
     "all da dal dalla in nel nello nella nei nelle nell su sul sulla con per tra fra e ed o ma "
     "non "
     "che chi cui si se è sono era erano essere ha hanno aveva ho io lui lei noi loro suo sua suoi "
     "questo questa quello quella quale quali quando quanto quanti dove come perché cosa più"},
    {"pt", "portuguese", true,
     "o a os as um uma uns umas de do da dos das em no na nos nas ao à aos às por pelo pela para "
     "com "
     "sem sobre entre e ou mas não que se seu sua seus suas é são era eram foi foram ser está "
     "estão "
     "tem têm há ele ela eles elas eu você nós este esta isso qual quais quem quando onde como "
     "porque "
     "quanto quantos quantas mais"},
    {"nl", "dutch", true,
     "de het een van in op aan te tot voor met naar uit bij door over onder en of maar niet geen "
     "als "
     "dan dat die dit deze is zijn was waren wordt worden werd werden heeft hebben had kan kunnen "
     "zal "
     "zou moet hij zij ze wij we ik je u er hun haar zich om ook wat wie welke welk waar wanneer "
     "waarom hoe hoeveel"},
    {"sv", "swedish", true,
     "en ett den det de och eller men inte i på av till från för med om som att är var vara har "
     "hade "
     "kan ska skall skulle blir blev han hon vi jag du ni sig sin sitt sina deras vid efter under "
     "över "
     "mellan mot ut upp så än när där hur vad vem vilken vilket vilka varför detta dessa"},
    {"da", "danish", true,
     "en et den det de og eller men ikke i på af til fra for med om som at er var være har havde "
     "kan "
     "skal skulle bliver blev han hun vi jeg du sig sin sit sine deres ved efter under over mellem "
     "mod "
     "ud op så end når hvor hvordan hvad hvem hvilken hvilket hvilke hvorfor hvornår dette disse"},
    {"no", "norwegian", true,
     "en et ei den det de og eller men ikke i på av til fra for med om som at er var være har "
     "hadde kan "
     "skal skulle blir ble han hun vi jeg du seg sin sitt sine deres ved etter under over mellom "
     "mot "
     "ut opp så enn når hvor hvordan hva hvem hvilken hvilket hvilke hvorfor dette disse"},
    {"fi", "finnish", true,
     "ja tai mutta ei on oli olivat ovat olla ole se ne hän he minä sinä me te tämä nämä tuo nuo "
     "joka "
     "jotka jonka mikä mitä mitkä kuka ketkä missä mistä mihin milloin miksi miten kuinka kun jos "
     "että "
     "kuin myös vain sekä sen sitä siitä siinä sille niiden niitä hänen hänet heidän ennen jälkeen "
     "kanssa mukaan"},
    {"ru", "russian", false,
     "и в во на с со к ко о об от до из у по за для при про над под без через между не ни но а или "
     "что чтобы как так то это этот эта эти тот та те он она оно они мы вы я его ее их ему ей им "
     "был "
     "была было были быть есть бы же ли который которая которое которые кто где когда куда откуда "
     "почему сколько какой какая какое какие чем"},
    {"ar", "arabic", false,
     "في من الى على عن مع بين عند عند حتى منذ خلال بعد قبل تحت فوق و او ثم لكن بل لا لم لن ما ان "
     "انه "
     "انها كان كانت يكون تكون هو هي هم هذا هذه ذلك تلك التي الذي الذين قد كل بعض اي ماذا متى اين "
     "كيف "
     "لماذا كم هل اذا كما حيث وهو وهي به بها له لها فيه فيها"},
    {"hi", "hindi", false,
     "का की के को में से पर ने और या लेकिन नहीं न है हैं था थे थी हो होता होती होते हुआ हुई हुए कर करने "
     "किया गया गई गए जा रहा रही रहे यह ये वह वे इस उस इन उन अपने एक तो भी ही कि जो तक लिए साथ बाद "
     "द्वारा "
     "क्या कौन किस किसने कब कहाँ क्यों कैसे कितने कितना कितनी कौन सा सी"},
    {"tr", "turkish", true,
     "ve veya ile ama fakat ancak de da bir bu şu o ben sen biz siz onlar için gibi kadar göre "
     "sonra "
     "önce değil var yok mı mi mu mü ki ise en daha çok her hiç olan olarak oldu olduğu idi ne "
     "neden "
     "nasıl nerede nereye kim kime hangi hangisi kaç zaman ya ayrıca"},
    {"ro", "romanian", true,
     "un o unei unui al ai ale cel cea cei cele și sau dar nu de la în pe cu din prin pentru "
     "despre "
     "după până între sub peste ca că să se este sunt era erau fi fost a au avea are el ea ei ele "
     "eu "
     "noi voi lor lui său sa acest această aceste care ce cine când unde cum câți cât mai"},
    {"hu", "hungarian", true,
     "a az egy és vagy de nem is hogy ha mint mert ez azt ezt ezek azok van vannak volt voltak "
     "lesz "
     "lett ki mi mit kit melyik milyen mikor hol hová honnan miért hogyan hány mennyi aki ami "
     "amely "
     "amelyek csak már még meg el be fel le után előtt között alatt szerint által ő ők én te"},
    {"el", "greek", false,
     "ο η το οι τα του της των τον την τους τις ένας μια ένα και ή αλλά δεν μη να θα σε στο στη "
     "στην "
     "στον στα στις στους από με για προς κατά μετά πριν ως που πως ότι αν όταν είναι ήταν έχει "
     "έχουν "
     "είχε αυτό αυτή αυτός αυτά τι ποιος ποια ποιο ποιοι πότε πού γιατί πόσο πόσα πόσοι"},
    {"ca", "catalan", true,
     "el la els les un una uns unes de del dels d al als a en amb per sense sobre entre i o però "
     "no "
     "que què qui quin quina quins quines quan on com quant quants és són era eren ser ha han "
     "havia "
     "ell ella ells elles jo nosaltres es se seu seva seus seves aquest aquesta això més hi ho l s "
     "n"},
    {"id", "indonesian", true,
     "yang dan di ke dari untuk pada dengan oleh ini itu adalah ialah atau tetapi tidak bukan akan "
     "telah sudah sedang dalam sebagai juga karena jika bahwa ia dia mereka kami kita saya anda "
     "apa "
     "siapa kapan mana dimana mengapa bagaimana berapa para suatu sebuah seorang antara oleh"},
    {"pl", NULL, true,
     "i w we z ze na do od o po przy przez dla za pod nad między bez u nie ale lub albo oraz a że "
     "żeby jak jako jest są był była było były być ma mają się to ten ta te tego tej tych on ona "
     "ono "
     "oni my wy ja jego jej ich który która które co kto gdzie kiedy dlaczego ile jaki jaka jakie"},
    {"cs", NULL, true,
     "a i v ve na s se z ze do od o po při pro za pod nad mezi bez u k ke ne ale nebo že aby jak "
     "jako "
     "je jsou byl byla bylo byli být má mají to ten ta ty tento tato toto on ona ono oni my vy já "
     "jeho "
     "její jejich který která které co kdo kde kdy proč kolik jaký jaká jaké si"},
    {"uk", NULL, false,
     "і й та в у на з із зі до від о об по за для при про над під без через між не ні але а або що "
     "щоб як так то це цей ця ці той він вона воно вони ми ви я його її їх був була було були бути "
     "є "
     "би б же чи який яка яке які хто де коли куди чому скільки"},
    {"bg", NULL, false,
     "и в във на с със от до за по при през между не но а или че да как така то това този тази "
     "тези "
     "той тя те ние вие аз му ѝ им си се е са беше бяха съм ще би ли който която което които кой "
     "къде "
     "кога защо колко какъв каква какво"},
    {"sr", "serbian", false,
     "и у на с са од до за по при о об кроз између не али а или да како то ово овај ова ови он она "
     "оно они ми ви ја његов њен њихов је су био била било били бити би се што који која које ко "
     "где "
     "када зашто колико какав i u na s sa od za po pri kroz između ne ali ili da kako ovo ovaj je "
     "su "
     "bio bila bili biti se što koji koja koje gde kada zašto koliko"},
    {"fa", NULL, false,
     "و در به از که این آن را با است برای بود شد شده می های ها یک تا هم یا اما اگر نیز بر او وی ما "
     "شما آنها خود هر چه کجا کی چرا چگونه چند کدام کسی نیست بودند باید دارد کرد کرده"},
    {"he", NULL, false,
     "של את על אל אם או אבל לא כי גם רק כל זה זו זאת אלה הוא היא הם הן אני אתה אנחנו היה היתה היו "
     "יש אין מה מי איפה מתי למה איך כמה איזה אשר בין לפני אחרי עם"},
    {"zh", NULL, false,
     "的 了 是 在 和 与 及 或 也 都 就 而 但 不 没 有 这 那 其 之 于 以 为 被 把 从 到 对 由 让 给 "
     "吗 呢 "
     "什么 哪些 哪个 哪里 哪 谁 何 何时 多少 几 怎么 怎样 为什 如何 是什 是谁 我们 他们 它们 这个 "
     "那个 这些 "
     "那些 一个 可以 以及 因为 所以 如果 什麼 為什 這 哪裡"},
    {"ja", NULL, false,
     "の に は を た が で て と し れ さ も な い る か ら こ そ あ こと この その あの どの これ "
     "それ "
     "ある いる する した して です ます から まで より など また または および 何 誰 どこ いつ "
     "なぜ どう "
     "いく どれ だれ なに ため とは"},
    {"ko", NULL, false,
     "은 는 이 가 을 를 의 에 와 과 도 로 무엇 누구 언제 어디 어떻 왜 어느 어떤 몇 그 저 수 것 "
     "에서 으로 "
     "하는 하고 했다 이다 있다 없다"},
    {"th", NULL, false, ""},
    {"hy", "armenian", false, ""},
    {"eu", "basque", true, ""},
    {"ga", "irish", true, ""},
    {"lt", "lithuanian", true, ""},
    {"ne", "nepali", false, ""},
    {"ta", "tamil", false, ""},
    {"yi", "yiddish", false, ""},
};

const size_t text_n_languages = sizeof(text_languages) / sizeof(text_languages[0]);
_Static_assert(sizeof(text_languages) / sizeof(text_languages[0]) <= TEXT_MAX_LANGUAGES,
               "the analyzer has room for every language");

size_t text_language_index(const char *code)
{
    if (code == NULL || code[0] == '\0' || code[1] == '\0' ||
        (code[2] != '\0' && code[2] != '-' && code[2] != '_')) {
        return 0;
    }
    char two[3] = {(char)(code[0] | 0x20), (char)(code[1] | 0x20), '\0'};
    if (strcmp(two, "nb") == 0 || strcmp(two, "nn") == 0) {
        memcpy(two, "no", 2);
    }
    for (size_t i = 1; i < text_n_languages; i++) {
        if (memcmp(text_languages[i].code, two, 2) == 0) {
            return i;
        }
    }
    return 0;
}

bool text_language_known(const char *language)
{
    return text_language_index(language) != 0;
}
