/* The four examples of the S3 API reference ("Examples: Signature Calculations in AWS Signature
 * Version 4"), which anybody can compute again, and what they do not cover. */
#include "kit/kit.h"
#include "storage/s3_sign.h"

static S3Signer signer = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .region = {"us-east-1", 9}
};
static const KeyPair pair = {.access_key_id = "AKIAIOSFODNN7EXAMPLE",
                             .secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                             .generation = 1};
#define MIDNIGHT 1369353600 /* 2013-05-24T00:00:00Z */
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* The last line is Authorization; its last word the signature. */
static Str signature(const S3Signing *signing, Arena *arena) {
    size_t count, at;
    Str *lines = s3_sign(&signer, &pair, signing, arena, &count);
    CHECK(str_starts(lines[count - 1], STR("Authorization: AWS4-HMAC-SHA256 Credential="
                                           "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/"
                                           "aws4_request, SignedHeaders=")));
    CHECK(str_find(lines[count - 1], STR("Signature="), &at));
    return str_slice(lines[count - 1], at + 10, lines[count - 1].len);
}

TEST("AWS's example of a ranged GET has AWS's signature") {
    OWNED(arena_close) Arena arena = {0};
    S3Pair range = {STR("range"), STR("bytes=0-9")};
    S3Signing signing = {.method = "GET",
                         .path = STR("/test.txt"),
                         .host = STR("examplebucket.s3.amazonaws.com"),
                         .headers = &range,
                         .header_count = 1,
                         .payload = EMPTY,
                         .now_s = MIDNIGHT};
    CHECK_STR(signature(&signing, &arena),
              "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST("AWS's example of a PUT has AWS's signature") {
    OWNED(arena_close) Arena arena = {0};
    char hash[S3_HEX_SIZE];
    s3_hash(bytes_of(STR("Welcome to Amazon S3.")), hash);
    S3Pair headers[] = {
        {STR("x-amz-storage-class"), STR("REDUCED_REDUNDANCY")           },
        {STR("date"),                STR("Fri, 24 May 2013 00:00:00 GMT")}
    };
    S3Signing signing = {.method = "PUT",
                         .path = STR("/test%24file.text"),
                         .host = STR("examplebucket.s3.amazonaws.com"),
                         .headers = headers,
                         .header_count = 2,
                         .payload = hash,
                         .now_s = MIDNIGHT};
    CHECK_STR(signature(&signing, &arena),
              "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

TEST("AWS's examples of a query without a value and of a list have AWS's signatures") {
    OWNED(arena_close) Arena arena = {0};
    S3Pair lifecycle = {STR("lifecycle"), {0}};
    S3Pair list[] = {
        {STR("prefix"),   STR("J")},
        {STR("max-keys"), STR("2")}
    };
    S3Signing signing = {.method = "GET",
                         .path = STR("/"),
                         .query = s3_query(&lifecycle, 1, &arena),
                         .host = STR("examplebucket.s3.amazonaws.com"),
                         .payload = EMPTY,
                         .now_s = MIDNIGHT};
    CHECK_STR(signature(&signing, &arena),
              "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
    signing.query = s3_query(list, 2, &arena);
    CHECK_STR(signing.query, "max-keys=2&prefix=J");
    CHECK_STR(signature(&signing, &arena),
              "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

TEST("a query is encoded byte by byte and sorted as it is encoded") {
    OWNED(arena_close) Arena arena = {0};
    S3Pair pairs[] = {
        {STR("prefix"), STR("a/b c+d=\xc3\xa9~")},
        {STR("b"),      {0}                     },
        {STR("B"),      STR("&")                }
    };
    CHECK_STR(s3_query(pairs, 3, &arena), "B=%26&b=&prefix=a%2Fb%20c%2Bd%3D%C3%A9~");
}

TEST("another day, pair or inner spaces change what is signed, outer ones do not") {
    OWNED(arena_close) Arena arena = {0};
    S3Pair header = {STR("x-amz-meta-a"), STR("one two")};
    S3Signing signing = {.method = "GET",
                         .path = STR("/"),
                         .host = STR("h"),
                         .headers = &header,
                         .header_count = 1,
                         .payload = EMPTY,
                         .now_s = MIDNIGHT};
    Str first = signature(&signing, &arena);
    header.value = STR("  one   two ");
    CHECK(str_equal(signature(&signing, &arena), first));
    header.value = STR("onetwo");
    CHECK(!str_equal(signature(&signing, &arena), first));
    header.value = STR("one two");
    signing.now_s = MIDNIGHT + 86399;
    CHECK(!str_equal(signature(&signing, &arena), first));
    signing.now_s = MIDNIGHT;
    KeyPair other = pair;
    size_t count, at;
    other.secret_access_key[0] = 'W';
    other.generation = 2;
    Str *lines = s3_sign(&signer, &other, &signing, &arena, &count);
    CHECK(!str_find(lines[count - 1], first, &at));
    snprintf(other.session_token, sizeof other.session_token, "token");
    other.generation = 3;
    lines = s3_sign(&signer, &other, &signing, &arena, &count);
    CHECK(str_find(lines[count - 1], STR("x-amz-date;x-amz-meta-a;x-amz-security-token"), &at));
    CHECK(str_equal(signature(&signing, &arena), first)); /* the key was made anew, and again */
}
