#include "kit/kit.h"
#include "storage/s3_xml.h"

static Err err;

static Bytes xml(const char *text) {
    return bytes_of(str_from(text));
}

static const char list[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>"
    "<IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b</NextContinuationToken>"
    "<Contents><Key>a+b%2Bc%20d/%C3%A9</Key><LastModified>2026-11-25T00:00:01.000Z</LastModified>"
    "<ETag>&quot;abc-2&quot;</ETag><Size>12</Size><StorageClass>X</StorageClass>"
    "<Owner><ID>o</ID></Owner></Contents>"
    "<Contents><Key>%00</Key><ETag>\"x\"</ETag><Size>0</Size></Contents>"
    "<CommonPrefixes><Prefix>p%2F</Prefix></CommonPrefixes></ListBucketResult>";

TEST("a list's keys are decoded, its etags unquoted, what is unknown is passed over") {
    OWNED(arena_close) Arena arena = {0};
    S3Page page;
    CHECK_OK(s3_xml_list(xml(list), 2, &arena, &page, &err));
    CHECK(page.truncated && page.object_count == 2 && page.prefix_count == 1);
    CHECK_STR(page.token, "a&b");
    CHECK_STR(page.objects[0].key, "a b+c d/\xc3\xa9");
    CHECK_STR(str_from(page.objects[0].info.etag), "abc-2");
    CHECK_INT(page.objects[0].info.size, 12);
    CHECK_INT(page.objects[0].info.modified_ms, 1795564801000);
    CHECK_STR(page.objects[1].key, ""); /* no key that anybody can have */
    CHECK_STR(page.prefixes[0], "p/");
    CHECK(!s3_xml_list(xml(list), 1, &arena, &page, &err)); /* more than was asked for */
}

static void check_no_list(const char *text) {
    OWNED(arena_close) Arena arena = {0};
    S3Page page;
    CHECK(!s3_xml_list(xml(text), 10, &arena, &page, &err));
    CHECK_INT(err.kind, LH_OFFLINE);
}

TEST("what is cut, no XML, too deep, too long or has a document type is no list") {
    OWNED(text_close) Text text = {0};
    check_no_list("");
    check_no_list("<ListBucketResult>");
    check_no_list("{\"a\":1}");
    check_no_list("<!DOCTYPE a [<!ENTITY b \"c\">]><ListBucketResult>&b;</ListBucketResult>");
    check_no_list("<ListBucketResult><Contents><Size>-1</Size></Contents></ListBucketResult>");
    check_no_list("<ListBucketResult><Contents><ETag>a b</ETag></Contents></ListBucketResult>");
    check_no_list("<a><a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a></a>");
    text_add(&text, STR("<ListBucketResult><Contents><Key>"));
    for (int i = 0; i < 9000; i++) text_add_byte(&text, 'k');
    text_add(&text, STR("</Key></Contents></ListBucketResult>"));
    text_add_byte(&text, 0);
    check_no_list(text.data);
}

TEST("a cut list is refused wherever it is cut") {
    OWNED(arena_close) Arena arena = {0};
    S3Page page;
    for (size_t len = 0; len + 1 < sizeof list - 1; len++)
        CHECK(!s3_xml_list((Bytes){(const uint8_t *)list, len}, 10, &arena, &page, &err));
}

TEST("an error's code and region are words; a body that is none leaves it empty") {
    S3Error error;
    s3_xml_error(xml("<Error><Code>NoSuchKey</Code><Message>no</Message><Region>eu-1</Region>"
                     "<StringToSign>secret</StringToSign></Error>"),
                 &error);
    CHECK_STR(str_from(error.code), "NoSuchKey");
    CHECK_STR(str_from(error.region), "eu-1");
    s3_xml_error(xml("<Error><Code>a b\r\n<b>c</b></Code></Error>"), &error);
    CHECK(!strpbrk(error.code, " \r\n<"));
    s3_xml_error(xml("<html>busy</html>"), &error);
    CHECK_STR(str_from(error.code), "");
    s3_xml_error(xml("<Error><Code>Cut"), &error);
    CHECK_STR(str_from(error.code), "");
}

TEST("an upload has an id, a completed one an etag or none") {
    OWNED(arena_close) Arena arena = {0};
    char etag[STORE_ETAG_SIZE];
    Str id;
    CHECK_OK(s3_xml_upload_id(xml("<InitiateMultipartUploadResult><UploadId>2~x</UploadId></"
                                  "InitiateMultipartUploadResult>"),
                              &arena, &id, &err));
    CHECK_STR(id, "2~x");
    CHECK(!s3_xml_upload_id(xml("<Other/>"), &arena, &id, &err));
    CHECK(s3_xml_etag(
        xml("<CompleteMultipartUploadResult><ETag>\"a-1\"</ETag></CompleteMultipartUploadResult>"),
        etag));
    CHECK_STR(str_from(etag), "a-1");
    CHECK(!s3_xml_etag(
        xml("<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>"), etag));
    CHECK(!s3_xml_etag(xml("<Error><Code>InternalError</Code></Error>"), etag));
}

TEST("uploads under way are listed with their keys as they are and as they are written") {
    OWNED(arena_close) Arena arena = {0};
    S3UploadEntry *uploads;
    size_t count;
    CHECK_OK(s3_xml_uploads(
        xml("<ListMultipartUploadsResult><Upload><Key>a%20b</Key><UploadId>1</UploadId>"
            "<Initiated>2026-11-25T00:00:01.000Z</Initiated></Upload><Upload/>"
            "</ListMultipartUploadsResult>"),
        1, &arena, &uploads, &count, &err));
    CHECK_INT(count, 1);
    CHECK_STR(uploads[0].key, "a b");
    CHECK_STR(uploads[0].raw_key, "a%20b");
    CHECK_STR(uploads[0].id, "1");
    CHECK_INT(uploads[0].since_ms, 1795564801000);
    CHECK(!s3_xml_uploads(xml("<a"), 1, &arena, &uploads, &count, &err));
}

TEST("an etag that could not stand in a header again is none") {
    char etag[STORE_ETAG_SIZE];
    CHECK(s3_etag(STR("\"abc\""), etag) && s3_etag(STR(" abc "), etag));
    CHECK_STR(str_from(etag), "abc");
    CHECK(!s3_etag(STR(""), etag) && !s3_etag(STR("\"\""), etag));
    CHECK(!s3_etag(STR("a\r\nx: y"), etag) && !s3_etag(STR("a\"b"), etag));
    char longest[STORE_ETAG_SIZE + 1];
    memset(longest, 'a', sizeof longest);
    CHECK(s3_etag((Str){longest, STORE_ETAG_SIZE - 1}, etag));
    CHECK(!s3_etag((Str){longest, STORE_ETAG_SIZE}, etag));
}
