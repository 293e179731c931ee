#include "ai/ai.h"
#include "kit/kit.h"

#include <math.h>

static Err err;

static double cosine(const float *a, const float *b) {
    double sum = 0;
    for (size_t i = 0; i < BUILTIN_DIMENSIONS; i++) sum += (double)a[i] * b[i];
    return sum;
}

static double similarity(Embedder *embedder, const char *a, const char *b) {
    Str texts[] = {str_from(a), str_from(b)};
    float rows[2 * BUILTIN_DIMENSIONS];
    CHECK_OK(embedder_embed(embedder, texts, 2, rows, &err));
    return cosine(rows, rows + BUILTIN_DIMENSIONS);
}

TEST("texts that share words are nearer than texts that do not, whatever the form of the word") {
    OWNED(embedder_close) Embedder *embedder = NULL;
    CHECK_OK(embedder_open(STR("builtin"), &embedder, &err));
    double same = similarity(embedder, "convert images", "image converter");
    double other = similarity(embedder, "convert images", "a relational database server");
    CHECK(same > 0.6);
    CHECK(fabs(other) < 0.2);
}

TEST("vectors have length 1, and a text without a word gives zeros") {
    OWNED(embedder_close) Embedder *embedder = NULL;
    Str texts[] = {STR("one two three"), STR(" .,-\n"), STR("")};
    float rows[3 * BUILTIN_DIMENSIONS];
    CHECK_OK(embedder_open(STR("builtin"), &embedder, &err));
    CHECK_OK(embedder_embed(embedder, texts, 3, rows, &err));
    CHECK(fabs(cosine(rows, rows) - 1) < 1e-5);
    for (size_t i = BUILTIN_DIMENSIONS; i < COUNT(rows); i++) CHECK(rows[i] == 0);
}

TEST("the same text gives the same vector as it did when this test was written") {
    OWNED(embedder_close) Embedder *embedder = NULL;
    Str text = STR("Poppler is a PDF rendering library");
    float row[BUILTIN_DIMENSIONS];
    double sum = 0;
    CHECK_OK(embedder_open(STR("builtin"), &embedder, &err));
    CHECK_OK(embedder_embed(embedder, &text, 1, row, &err));
    for (size_t i = 0; i < BUILTIN_DIMENSIONS; i++) sum += row[i] * (double)(i + 1);
    if (fabs(sum - 0.474236) > 1e-3) kit_fail(__FILE__, __LINE__, "the sum is %.6f", sum);
}

TEST("case does not matter, in Latin, Greek and Cyrillic") {
    OWNED(embedder_close) Embedder *embedder = NULL;
    CHECK_OK(embedder_open(STR("builtin"), &embedder, &err));
    CHECK(similarity(embedder, "ÉCOLE Ωmega ΠΡΟ МОСКВА Straße", "école ωmega προ москва straße") >
          0.999);
}

TEST("a word that every text has counts less than a rare one once a corpus was observed") {
    OWNED(embedder_close) Embedder *embedder = NULL;
    CHECK_OK(embedder_open(STR("builtin"), &embedder, &err));
    double before = similarity(embedder, "package zebra", "package lion");
    for (int i = 0; i < 100; i++)
        CHECK_OK(embedder_observe(embedder, STR("a package of something"), &err));
    CHECK(similarity(embedder, "package zebra", "package lion") < before / 2);
}

TEST("statistics kept and loaded give the same vectors and the same digest") {
    OWNED(embedder_close) Embedder *a = NULL, *b = NULL;
    OWNED(text_close) Text kept = {0};
    Str text = STR("one package");
    float x[BUILTIN_DIMENSIONS], y[BUILTIN_DIMENSIONS];
    CHECK_OK(embedder_open(STR("builtin"), &a, &err));
    CHECK_OK(embedder_open(STR("builtin"), &b, &err));
    CHECK_OK(embedder_observe(a, STR("one two"), &err));
    embedder_statistics(a, &kept);
    CHECK(!str_equal(embedder_digest(a), embedder_digest(b)));
    CHECK_OK(embedder_load(b, text_bytes(&kept), &err));
    CHECK(str_equal(embedder_digest(a), embedder_digest(b)));
    CHECK_OK(embedder_embed(a, &text, 1, x, &err));
    CHECK_OK(embedder_embed(b, &text, 1, y, &err));
    CHECK(!memcmp(x, y, sizeof x));
    kept.len--;
    CHECK(!embedder_load(b, text_bytes(&kept), &err) && err.kind == LH_CORRUPT);
}

TEST("any bytes embed to finite numbers") {
    OWNED(embedder_close) Embedder *embedder = NULL;
    char bytes[4096];
    float row[BUILTIN_DIMENSIONS];
    CHECK_OK(embedder_open(STR("builtin"), &embedder, &err));
    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(random_u64() >> 13);
        Str text = {bytes, sizeof bytes};
        CHECK_OK(embedder_embed(embedder, &text, 1, row, &err));
        for (size_t i = 0; i < BUILTIN_DIMENSIONS; i++) CHECK(isfinite(row[i]));
    }
}

TEST("a model that does not exist is refused by name") {
    Embedder *embedder = NULL;
    CHECK(!embedder_open(STR("gpt-9"), &embedder, &err));
    CHECK_INT(err.kind, LH_MISSING);
    CHECK(strstr(err.message, "gpt-9"));
}
