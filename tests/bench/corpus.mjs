// A synthetic collection for timing: pseudo-words with Zipf's distribution, real function words at its head,
// sections of about 200 words under headings. Seeded: the same every time.

const heads = "the of and to in is that for it as was with be by on not he his but at are this have from or had an they which one you were all her she there would their we him been has when who will no more if out so said what".split(" ");

export function rng(seed) {
  let s = BigInt(seed) | 1n;
  const mask = (1n << 64n) - 1n;
  return () => {
    s ^= (s << 13n) & mask;
    s ^= s >> 7n;
    s ^= (s << 17n) & mask;
    return Number(s >> 11n) / 2 ** 53;
  };
}

// xorshift on BigInt is slow: a 32-bit one for the bulk
function fast(seed) {
  let s = seed >>> 0 || 1;
  return () => {
    s ^= s << 13;
    s >>>= 0;
    s ^= s >>> 17;
    s ^= s << 5;
    s >>>= 0;
    return s / 2 ** 32;
  };
}

export function vocabulary(n = 30_000, seed = 7) {
  const r = fast(seed);
  const on = ["b", "br", "c", "cl", "d", "f", "g", "gr", "h", "k", "l", "m", "n", "p", "pr", "r", "s", "st", "t", "tr", "v", "w"];
  const vo = ["a", "e", "i", "o", "u", "ai", "ea", "ou"];
  const en = ["", "n", "r", "l", "st", "m", "nd", "ck"];
  const seen = new Set(heads);
  const out = [...heads];
  while (out.length < n) {
    let w = "";
    const syllables = 2 + Math.floor(r() * 2.4);
    for (let i = 0; i < syllables; i++) w += on[Math.floor(r() * on.length)] + vo[Math.floor(r() * vo.length)] + (i === syllables - 1 ? en[Math.floor(r() * en.length)] : "");
    if (!seen.has(w)) {
      seen.add(w);
      out.push(w);
    }
  }
  return out;
}

/** n sections of about `words` words: {heading, text}. */
export function* sections(n, { words = 190, seed = 42, vocab = vocabulary() } = {}) {
  const r = fast(seed);
  const sums = new Float64Array(vocab.length);
  let total = 0;
  for (let i = 0; i < vocab.length; i++) sums[i] = total += 1 / (i + 2.7) ** 1.05;
  const pick = () => {
    const x = r() * total;
    let lo = 0;
    let hi = sums.length - 1;
    while (lo < hi) {
      const mid = (lo + hi) >> 1;
      if (sums[mid] < x) lo = mid + 1;
      else hi = mid;
    }
    return vocab[lo];
  };
  for (let k = 0; k < n; k++) {
    const parts = [];
    let left = words - 10 + Math.floor(r() * 20);
    while (left > 0) {
      const len = Math.min(left, 8 + Math.floor(r() * 14));
      const s = Array.from({ length: len }, pick).join(" ");
      parts.push(s[0].toUpperCase() + s.slice(1) + ".");
      left -= len;
    }
    yield { heading: `${pick()} ${pick()} ${k}`, text: parts.join(" ") };
  }
}

/** Questions as people ask them: function words around a few words of one section. */
export function questions(list, n, seed = 5) {
  const r = fast(seed);
  const function_words = new Set(heads);
  return Array.from({ length: n }, () => {
    const s = list[Math.floor(r() * list.length)];
    const content = s.text.toLowerCase().replace(/\./g, "").split(" ").filter((w) => !function_words.has(w));
    const chosen = Array.from({ length: 4 }, () => content[Math.floor(r() * content.length)]);
    return `what is the ${chosen[0]} ${chosen[1]} of the ${chosen[2]} that was in ${chosen[3]}?`;
  });
}

export function quantile(values, q) {
  const s = [...values].sort((x, y) => x - y);
  return s[Math.min(s.length - 1, Math.floor(q * s.length))];
}

export function option(name, fallback) {
  const i = process.argv.indexOf(`--${name}`);
  if (i < 0) return fallback;
  return typeof fallback === "boolean" ? true : typeof fallback === "number" ? Number(process.argv[i + 1]) : process.argv[i + 1];
}
