/* Attention over a page of keys and values (Dao et al. 2022, "FlashAttention"; Milakov and
 * Gimelshein 2018); part of cpu_body.h, which alone includes it. */

INLINE V page_load(const void *page, size_t at, const enum attend_form form)
{
    return form == ATTEND_BYTES    ? v_load_s8((const unsigned char *)page + at)
           : form == ATTEND_HALVES ? v_load_half((const unsigned char *)page + at * 2)
                                   : v_load((const float *)page + at);
}

/* Keys as bytes: each block's sum is scaled once. */
INLINE void page_scores_bytes(const struct attend_tile *a, const unsigned char *keys,
                              const unsigned first, V *scores)
{
    V s[INNER];
    UNROLL for (unsigned t = 0; t < INNER; t++)
    {
        s[t] = v_zero();
    }
    for (size_t from = 0; from < a->key_width; from += KERNEL_BLOCK) {
        size_t end = from + KERNEL_BLOCK < a->key_width ? from + KERNEL_BLOCK : a->key_width;
        V scale = v_load_half(keys);
        V part[INNER];
        keys += (size_t)KERNEL_KEYS * 2;
        UNROLL for (unsigned t = 0; t < INNER; t++)
        {
            part[t] = v_zero();
        }
        for (size_t d = from; d < end; d++, keys += KERNEL_KEYS) {
            V key = v_load_s8(keys);
            UNROLL for (unsigned t = 0; t < INNER; t++)
            {
                part[t] = v_fma(key, v_set1(a->q[d * KERNEL_TILE + first + t]), part[t]);
            }
        }
        UNROLL for (unsigned t = 0; t < INNER; t++)
        {
            s[t] = v_fma(part[t], scale, s[t]);
        }
    }
    UNROLL for (unsigned t = 0; t < INNER; t++)
    {
        scores[first + t] = s[t];
    }
}

INLINE void page_scores(const struct attend_tile *a, const void *keys, const enum attend_form form,
                        const unsigned first, V *scores)
{
    if (form == ATTEND_BYTES) {
        page_scores_bytes(a, keys, first, scores);
        return;
    }
    V s[INNER];
    UNROLL for (unsigned t = 0; t < INNER; t++)
    {
        s[t] = v_zero();
    }
    for (size_t d = 0; d < a->key_width; d++) {
        V key = page_load(keys, d * KERNEL_KEYS, form);
        UNROLL for (unsigned t = 0; t < INNER; t++)
        {
            s[t] = v_fma(key, v_set1(a->q[d * KERNEL_TILE + first + t]), s[t]);
        }
    }
    UNROLL for (unsigned t = 0; t < INNER; t++)
    {
        scores[first + t] = s[t];
    }
}

/* vectors x 16 values of INNER queries. */
INLINE void page_values(const struct attend_tile *a, const void *values,
                        const enum attend_form form, unsigned n_keys, const float *weights,
                        const float *fade, const unsigned first, size_t at, const unsigned vectors)
{
    V sums[INNER * 2];
    float shares[INNER * KERNEL_KEYS];
    const float *share_of = weights + (size_t)first * KERNEL_KEYS;
    if (form == ATTEND_BYTES) { /* at is a multiple of 32: one scale a key */
        V scale =
            v_load_half((const unsigned char *)values + at / KERNEL_BLOCK * (KERNEL_KEYS * 2));
        for (unsigned t = 0; t < INNER; t++) {
            v_store(shares + (size_t)t * KERNEL_KEYS,
                    v_mul(v_load(share_of + (size_t)t * KERNEL_KEYS), scale));
        }
        share_of = shares;
        values = (const unsigned char *)values + ATTEND_SCALES(a->value_width);
    }
    UNROLL for (unsigned t = 0; t < INNER; t++)
    {
        float *out = a->out + (size_t)(first + t) * a->value_width + at;
        sums[2 * t] = v_mul(v_load(out), v_set1(fade[first + t]));
        sums[2 * t + 1] =
            vectors > 1 ? v_mul(v_load(out + LANES), v_set1(fade[first + t])) : v_zero();
    }
    for (size_t key = 0; key < n_keys; key++) {
        size_t from = key * a->value_width + at;
        V left = page_load(values, from, form);
        V right = vectors > 1 ? page_load(values, from + LANES, form) : left;
        UNROLL for (unsigned t = 0; t < INNER; t++)
        {
            V share = v_set1(share_of[(size_t)t * KERNEL_KEYS + key]);
            sums[2 * t] = v_fma(left, share, sums[2 * t]);
            sums[2 * t + 1] = vectors > 1 ? v_fma(right, share, sums[2 * t + 1]) : right;
        }
    }
    UNROLL for (unsigned t = 0; t < INNER; t++)
    {
        float *out = a->out + (size_t)(first + t) * a->value_width + at;
        v_store(out, sums[2 * t]);
        if (vectors > 1) {
            v_store(out + LANES, sums[2 * t + 1]);
        }
    }
}

INLINE void attend_page(struct attend_tile *a, const void *keys, const void *values,
                        const enum attend_form form)
{
    V scores[KERNEL_TILE];
    float weights[KERNEL_TILE * KERNEL_KEYS];
    float most[LANES];
    float fade[LANES];
    unsigned n_keys = a->partly ? 0 : KERNEL_KEYS;
    const unsigned n = INNER == KERNEL_TILE ? KERNEL_TILE : (a->n + INNER - 1) / INNER * INNER;
    for (unsigned t = n; t < KERNEL_TILE; t++) {
        scores[t] = v_zero();
    }
    for (unsigned t = 0; t < n; t += INNER) {
        page_scores(a, keys, form, t, scores);
    }
    for (unsigned t = 0; t < n && a->cap > 0; t++) {
        scores[t] = v_cap(scores[t], a->cap);
    }
    for (unsigned t = 0; t < a->n && a->partly; t++) {
        scores[t] = v_first(scores[t], a->keys[t], -INFINITY);
        scores[t] = a->skip[t] > 0 ? v_from(scores[t], a->skip[t], -INFINITY) : scores[t];
        n_keys = a->keys[t] > n_keys ? a->keys[t] : n_keys;
    }
    V before = v_load_some(a->most, KERNEL_TILE);
    V now = v_max(v_largest_of(scores), before);
    v_store_some(a->most, now, KERNEL_TILE);
    v_store(most, now);
    v_store(fade, v_exp(v_sub(before, now)));
    for (unsigned t = 0; t < n; t++) {
        V w = v_exp(v_sub(scores[t], v_set1(most[t])));
        v_store(weights + (size_t)t * KERNEL_KEYS, w);
        float *sum = a->sum + (size_t)t * KERNEL_KEYS;
        v_store(sum, v_fma(v_load(sum), v_set1(fade[t]), w));
    }
    for (unsigned t = 0; t < n; t += INNER) {
        size_t at = 0;
        for (; at + 2 * LANES <= a->value_width; at += 2 * LANES) {
            page_values(a, values, form, n_keys, weights, fade, t, at, 2);
        }
        if (at < a->value_width) {
            page_values(a, values, form, n_keys, weights, fade, t, at, 1);
        }
    }
}

static void attend(struct attend_tile *a, const void *keys, const void *values,
                   enum attend_form form)
{
    if (form == ATTEND_BYTES) {
        attend_page(a, keys, values, ATTEND_BYTES);
    } else if (form == ATTEND_HALVES) {
        attend_page(a, keys, values, ATTEND_HALVES);
    } else {
        attend_page(a, keys, values, ATTEND_FLOATS);
    }
}
