#include "kit/kit.h"
#include "vector/chunk.h"

static size_t cut(Str text, int64_t size, int64_t overlap, Str chunks[], size_t max) {
    ChunkOptions options = {size, overlap};
    Chunker chunks_of = chunker(text, &options);
    size_t count = 0;
    while (count < max && chunk_next(&chunks_of, &chunks[count])) count++;
    return count;
}

TEST("a short text is one chunk, a blank one none") {
    Str chunks[4];
    CHECK_INT(cut(STR("  Hello there. "), 100, 20, chunks, 4), 1);
    CHECK_STR(chunks[0], "Hello there.");
    CHECK_INT(cut(STR(" \n\t "), 100, 20, chunks, 4), 0);
    CHECK_INT(cut(STR(""), 100, 20, chunks, 4), 0);
}

TEST("chunks end at the ends of sentences, and whole sentences overlap") {
    Str text = STR("The first sentence is here. The second one follows it. The third is the last.");
    Str chunks[8];
    CHECK_INT(cut(text, 60, 30, chunks, 8), 2);
    CHECK_STR(chunks[0], "The first sentence is here. The second one follows it.");
    CHECK_STR(chunks[1], "The second one follows it. The third is the last.");
}

TEST("every byte but white space is in a chunk, no chunk is longer than asked, UTF-8 stays whole") {
    OWNED(text_close) Text text = {0};
    static Str chunks[4096];
    for (int i = 0; i < 300; i++)
        text_print(&text, "%s%d%s", i % 7 ? "wörd " : "sentence. ", i,
                   i % 50 ? "é" : "\n\n * item ");
    for (int i = 0; i < 500; i++) text_add(&text, STR("ü")); /* no space to cut at */
    size_t count = cut(text_str(&text), 50, 10, chunks, COUNT(chunks));
    const char *covered = text.data;
    for (size_t i = 0; i < count; i++) {
        CHECK(chunks[i].len <= 50 && str_is_utf8(chunks[i]));
        CHECK(chunks[i].data <= covered + 3); /* only white space lies between */
        covered = MAX(covered, chunks[i].data + chunks[i].len);
    }
    CHECK(covered == text.data + text.len);
}

TEST("an overlap as large as the chunk still moves on") {
    Str chunks[64];
    CHECK(cut(STR("One. Two. Three. Four. Five. Six. Seven. Eight. Nine. Ten. Eleven. Twelve."), 50,
              50, chunks, 64) < 64);
}
