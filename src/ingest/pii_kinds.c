/* The kinds of personal data and how a value shows that it is one. Each match is over a whole value
 * (a phone number is not looked for inside a GUID), with a checksum where the kind has one. */
#include "ingest/parts.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

#define PHONE_DIGITS_MIN 8
#define PHONE_DIGITS_MAX 15

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
static bool is_letter(char c) {
    return isalpha((unsigned char)c) || (unsigned char)c >= 0x80;
}

/* One domain name with a dot and a top level of letters. */
static bool is_domain(Str domain) {
    size_t label = 0, dots = 0, last = 0;
    for (size_t i = 0; i < domain.len; i++) {
        char c = domain.data[i];
        if (c == '.') {
            if (label == 0) return false;
            dots++;
            label = 0;
            last = i + 1;
        } else if (is_letter(c) || is_digit(c) || (c == '-' && label > 0))
            label++;
        else
            return false;
    }
    Str top = str_slice(domain, last, domain.len);
    if (dots == 0 || top.len < 2 || top.len > 24) return false;
    for (size_t i = 0; i < top.len; i++)
        if (!is_letter(top.data[i])) return false;
    return true;
}

static bool is_email(Str value) {
    Str domain = value, local = str_until(&domain, '@');
    if (local.len == 0 || local.len > 64 || local.len == value.len || domain.len > 255)
        return false;
    if (local.data[0] == '.' || local.data[local.len - 1] == '.') return false;
    for (size_t i = 0; i < local.len; i++)
        if (!is_letter(local.data[i]) && !is_digit(local.data[i]) &&
            !strchr(".!#$%&'*+-=?^_`{|}~", local.data[i]))
            return false;
    return is_domain(domain);
}

/* A word of running text. A link or a package name with an @ is no address. */
static bool has_email(Str text) {
    while (text.len) {
        Str word = str_until(&text, ' ');
        while (word.len && strchr("<>(),;:\"'[].", word.data[0]))
            word = str_slice(word, 1, word.len);
        while (word.len && strchr("<>(),;:\"'[].!?", word.data[word.len - 1])) word.len--;
        if (is_email(word)) return true;
    }
    return false;
}

/* The digits of a value of groups; 0 when anything but `between` stands there or two of them in a
 * row. */
static size_t take_digits(Str value, const char *between, char *out, size_t max) {
    size_t len = 0;
    for (size_t i = 0; i < value.len; i++) {
        char c = value.data[i];
        if (is_digit(c)) {
            if (len == max) return 0;
            out[len++] = c;
        } else if (!strchr(between, c) || i == 0 || i + 1 == value.len ||
                   !is_digit(value.data[i - 1]))
            return 0;
    }
    return len;
}

/* Lengths of the runs of digits, what else there is counted as breaks. */
static size_t digit_groups(Str value, size_t groups[8]) {
    size_t count = 0, run = 0;
    for (size_t i = 0; i <= value.len; i++) {
        if (i < value.len && is_digit(value.data[i])) {
            run++;
            continue;
        }
        if (run && count == 8) return 0;
        if (run) groups[count++] = run;
        run = 0;
    }
    return count;
}

/* (212) 555-0147, 212-555-0147, 212.555.0147, 1-212-555-0147: area and exchange start at 2. */
static bool is_american_phone(Str value, const char *digits, size_t len) {
    size_t groups[8], count = digit_groups(value, groups);
    size_t first = count == 4 && groups[0] == 1 && digits[0] == '1';
    if (count - first != 3 || len - first != 10) return false;
    if (groups[first] != 3 || groups[first + 1] != 3 || groups[first + 2] != 4) return false;
    return digits[first] >= '2' && digits[first + 3] >= '2';
}

static size_t phone_digits(Str value, char digits[PHONE_DIGITS_MAX], size_t *separators) {
    size_t len = 0;
    *separators = 0;
    for (size_t i = 0; i < value.len; i++) {
        char c = value.data[i];
        if (is_digit(c)) {
            if (len == PHONE_DIGITS_MAX) return 0;
            digits[len++] = c;
        } else if (c == '+' && i == 0)
            continue;
        else if (strchr(" -.()/", c))
            ++*separators;
        else
            return 0;
    }
    return len >= PHONE_DIGITS_MIN ? len : 0;
}

/* Formats that only telephone numbers have. "+52.520008" is a latitude. */
static bool is_phone(Str value) {
    char digits[PHONE_DIGITS_MAX];
    size_t separators, len = phone_digits(value, digits, &separators), at;
    if (len == 0) return false;
    bool decimal = separators == 1 && str_find(value, STR("."), &at);
    if (value.data[0] == '+') return !decimal && digits[0] != '0';
    return is_american_phone(value, digits, len);
}

/* What a column that is called phone may hold. */
static bool is_bare_phone(Str value) {
    char digits[PHONE_DIGITS_MAX];
    size_t separators;
    return phone_digits(value, digits, &separators) > 0 &&
           (separators > 0 || value.len >= 9 || value.data[0] == '0');
}

static bool passes_luhn(const char *digits, size_t len) {
    int sum = 0;
    for (size_t i = 0; i < len; i++) {
        int digit = digits[len - 1 - i] - '0';
        if (i % 2) digit = digit * 2 - 9 * (digit > 4);
        sum += digit;
    }
    return sum % 10 == 0;
}

static int prefix_of(const char *digits, size_t len) {
    int value = 0;
    for (size_t i = 0; i < len; i++) value = value * 10 + digits[i] - '0';
    return value;
}

/* Issuer ranges with their lengths. 13 digits are an article number far more often than an old
 * Visa card. */
static bool is_card(Str value) {
    char d[19];
    size_t len = take_digits(value, " -", d, sizeof d);
    if (len < 14) return false;
    int two = prefix_of(d, 2), three = prefix_of(d, 3), four = prefix_of(d, 4);
    bool known = (d[0] == '4' && (len == 16 || len == 19)) ||
                 (two >= 51 && two <= 55 && len == 16) ||
                 (four >= 2221 && four <= 2720 && len == 16) ||
                 ((two == 34 || two == 37) && len == 15) || (four == 6011 && len == 16) ||
                 (two == 65 && len == 16) || (three >= 644 && three <= 649 && len == 16) ||
                 (four >= 3528 && four <= 3589 && len == 16) ||
                 ((two == 36 || two == 38 || (three >= 300 && three <= 305)) && len == 14) ||
                 (two == 62 && len >= 16);
    bool varied = memchr(d, d[0], len) && strspn(d, (char[]){d[0], 0}) < len;
    return known && varied && passes_luhn(d, len);
}

/* Country and length of each IBAN (SWIFT registry). */
static const char ibans[] = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BR29BY28CH21CR22CY28CZ24DE22DK18DO"
                            "28EE20EG29ES24FI18FO18FR27"
                            "GB22GE22GI23GL18GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC"
                            "32LI21LT20LU20LV21LY25MC27"
                            "MD24ME22MK19MR27MT31MU30NL18NO15PK24PL28PS29PT25QA29RO24RS22SA24SC31SE"
                            "24SI19SK24SM27ST25SV28TL23"
                            "TN24TR26UA29VA22VG24XK20";

static size_t iban_length(const char *country) {
    for (size_t i = 0; ibans[i]; i += 4)
        if (memcmp(ibans + i, country, 2) == 0) return (size_t)prefix_of(ibans + i + 2, 2);
    return 0;
}

static bool is_iban(Str value) {
    char text[34];
    size_t len = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] == ' ') continue;
        if (len == sizeof text || !isalnum((unsigned char)value.data[i])) return false;
        text[len++] = (char)toupper((unsigned char)value.data[i]);
    }
    if (len < 15 || iban_length(text) != len || !is_digit(text[2]) || !is_digit(text[3]))
        return false;
    unsigned rest = 0;
    for (size_t i = 0; i < len; i++) {
        char c = text[(i + 4) % len];
        rest = is_digit(c) ? (rest * 10 + (unsigned)(c - '0')) % 97
                           : (rest * 100 + (unsigned)(c - 'A' + 10)) % 97;
    }
    return rest == 1;
}

static bool is_social_number(const char *d) {
    int area = prefix_of(d, 3);
    return area > 0 && area < 900 && area != 666 && prefix_of(d + 3, 2) > 0 &&
           prefix_of(d + 5, 4) > 0;
}

static bool is_ssn(Str value) {
    char d[9];
    return value.len == 11 && value.data[3] == '-' && value.data[6] == '-' &&
           take_digits(value, "-", d, sizeof d) == 9 && is_social_number(d);
}

static bool is_bare_ssn(Str value) {
    char d[9];
    return is_ssn(value) ||
           (value.len == 9 && take_digits(value, "", d, sizeof d) == 9 && is_social_number(d));
}

static bool is_ip(Str value) {
    char text[INET6_ADDRSTRLEN];
    unsigned char address[16];
    if (value.len < 3 || value.len >= sizeof text) return false;
    memcpy(text, value.data, value.len);
    text[value.len] = 0;
    return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

static bool is_mac(Str value) {
    if (value.len != 17) return false;
    char between = value.data[2];
    if (between != ':' && between != '-') return false;
    for (size_t i = 0; i < value.len; i++)
        if (i % 3 == 2 ? value.data[i] != between : !isxdigit((unsigned char)value.data[i]))
            return false;
    return true;
}

/* One to five words of letters. */
static bool looks_like_name(Str value) {
    size_t words = 0;
    for (Str rest = value; rest.len;) {
        Str word = str_until(&rest, ' ');
        if (word.len == 0 || ++words > 5) return false;
        for (size_t i = 0; i < word.len; i++)
            if (!is_letter(word.data[i]) && !strchr("-'.,", word.data[i])) return false;
    }
    return words > 0 && value.len >= 2 && value.len <= 80;
}

/* Given names that are common and mean little else. */
static const char *const given_names[] = {
    "james",    "john",      "robert",    "michael",     "william",   "david",    "richard",
    "joseph",   "thomas",    "charles",   "christopher", "daniel",    "matthew",  "anthony",
    "donald",   "steven",    "paul",      "andrew",      "joshua",    "kenneth",  "kevin",
    "brian",    "george",    "edward",    "ronald",      "timothy",   "jason",    "jeffrey",
    "ryan",     "jacob",     "gary",      "nicholas",    "eric",      "jonathan", "stephen",
    "larry",    "justin",    "scott",     "brandon",     "benjamin",  "samuel",   "gregory",
    "frank",    "alexander", "raymond",   "patrick",     "jack",      "dennis",   "peter",
    "mary",     "patricia",  "jennifer",  "linda",       "elizabeth", "barbara",  "susan",
    "jessica",  "sarah",     "karen",     "lisa",        "nancy",     "betty",    "margaret",
    "sandra",   "ashley",    "kimberly",  "emily",       "donna",     "michelle", "carol",
    "amanda",   "melissa",   "deborah",   "stephanie",   "rebecca",   "sharon",   "laura",
    "cynthia",  "kathleen",  "amy",       "angela",      "anna",      "emma",     "nicole",
    "helen",    "samantha",  "katherine", "christine",   "rachel",    "maria",    "heather",
    "diane",    "julie",     "olivia",    "sophia",      "isabella",  "mia",      "noah",
    "liam",     "oliver",    "lucas",     "mohammed",    "muhammad",  "ahmed",    "ali",
    "fatima",   "omar",      "hassan",    "aisha",       "wei",       "li",       "yuki",
    "hiroshi",  "chen",      "priya",     "raj",         "amit",      "sanjay",   "anita",
    "ivan",     "olga",      "dmitri",    "natasha",     "sergei",    "hans",     "klaus",
    "jürgen",   "günter",    "wolfgang",  "stefan",      "andreas",   "martin",   "julia",
    "sabine",   "petra",     "claudia",   "pierre",      "jean",      "marie",    "françois",
    "camille",  "chloé",     "luc",       "jose",        "josé",      "juan",     "carlos",
    "luis",     "miguel",    "pedro",     "pablo",       "ana",       "carmen",   "lucía",
    "giovanni", "marco",     "giulia",    "francesca",   "lars",      "sven",     "ingrid",
    "astrid",   "erik",      "nils",      "kofi",        "kwame",     "chidi",    "amara",
    "jan",      "piotr",     "katarzyna"};

static bool is_given_name(Str word) {
    for (size_t i = 0; i < COUNT(given_names); i++)
        if (str_equal_nocase(word, str_from(given_names[i]))) return true;
    return false;
}

/* A full name that starts (or, after a comma, ends) with a given name. */
static bool is_full_name(Str value) {
    if (!looks_like_name(value) ||
        !(isupper((unsigned char)value.data[0]) || (unsigned char)value.data[0] >= 0x80))
        return false;
    Str rest = value, first = str_until(&rest, ' ');
    if (rest.len == 0) return false;
    if (first.len && first.data[first.len - 1] == ',') return is_given_name(str_until(&rest, ' '));
    return is_given_name(first);
}

/* clang-format off */
const PiiKind pii_kinds[] = {
    {"email", is_email,        has_email, " email emails mail e ",                                                                 0.5, 0.99},
    {"iban",  is_iban,         NULL,      " iban account bank ",                                                                   0.5, 0.99},
    {"card",  is_card,         NULL,      " card cards cc credit creditcard pan payment ",                                         0.6, 0.95},
    {"ssn",   is_ssn,          NULL,      " ssn social security ",                                                                 0.6, 0.9 },
    {"ssn",   is_bare_ssn,     NULL,      " ssn social ",                                                                          2,   0.9 },
    {"mac",   is_mac,          NULL,      " mac hwaddr ethernet ",                                                                 0.5, 0.95},
    {"ip",    is_ip,           NULL,      " ip ips ipv4 ipv6 addr address host client remote ",                                    0.6, 0.9 },
    {"phone", is_phone,        NULL,      " phone phones telephone tel mobile cell fax msisdn ",                                   0.6, 0.9 },
    {"phone", is_bare_phone,   NULL,      " phone phones telephone tel mobile cell fax msisdn ",                                   2,   0.85},
    {"name",  is_full_name,    NULL,      " name names customer client patient employee person contact author owner user member ", 0.4, 0.85},
    {"name",  looks_like_name, NULL,      " firstname lastname fullname surname forename fname lname ",                            2,   0.9 },
};
/* clang-format on */
const size_t pii_kind_count = COUNT(pii_kinds);
