// SPDX-License-Identifier: GPL-2.0-or-later
//
// Lease requests: what the scan takes jansson takes too, and both read the same; what jansson
// refuses the scan does not take.

#include "lease-request.h"

#include <string.h>

#include "error.h"

#define UUID "5f0c1c1e-6b57-4c8e-9d5e-2f1f0a4b7c11"
#define PLAIN "{\"domain\":\"" UUID "\",\"device\":\"net0\",\"pool\":\"uplink\"}"

// TRUE when the scan takes the text. Then jansson must, with the same result.
static gboolean scans(const char *text, gsize length)
{
    g_autofree char *copy = g_memdup2(text, length + 1);
    VfLeaseRequest scanned, unpacked;
    json_t *json;

    if (!vf_lease_request_scan(copy, length, &scanned))
        return FALSE;
    json = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    g_assert_nonnull(json);
    g_assert_true(vf_lease_request_unpack(json, &unpacked, NULL));
    g_assert_cmpstr(scanned.domain, ==, unpacked.domain);
    g_assert_cmpstr(scanned.device, ==, unpacked.device);
    g_assert_cmpstr(scanned.pool, ==, unpacked.pool);
    g_assert_cmpstr(scanned.name, ==, unpacked.name);
    json_decref(json);
    return TRUE;
}

static void test_taken(void)
{
    static const char *const texts[] = {
        PLAIN,
        " \t\r\n" PLAIN "\n",
        "{ \"pool\" : \"p\" , \"name\" : \"a b~'%s\" , \"device\" : \"\" , \"domain\" : \"d\" }",
    };

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
        g_assert_true(scans(texts[i], strlen(texts[i])));
}

static void test_left_to_jansson(void)
{
    static const char *const texts[] = {
        "",
        " ",
        "{",
        "{}",
        "[" PLAIN "]",
        PLAIN "x",
        PLAIN PLAIN,
        "{\"domain\":\"d\",\"device\":\"e\"}",
        "{\"domain\":\"d\",\"device\":\"e\",\"pool\":\"p\",}",
        "{\"domain\":\"d\",\"device\":\"e\",\"pool\":\"p\"",
        "{\"domain\":\"d\",\"device\":\"e\",\"pool\":\"p",
        "{\"domain\":\"d\",\"device\":\"e\",\"pool\":\"p\\",
        "{\"domain\":\"d\",\"device\":\"e\",\"pool\":1}",
        "{\"domain\":\"d\",\"device\":\"e\",\"pool\":null}",
        "{\"domain\":\"d\",\"device\":\"e\",\"pool\":\"p\",\"pool\":\"p\"}",
        "{\"domain\":\"d\",\"device\":\"e\",\"pool\":\"p\",\"more\":\"m\"}",
        "{\"domain\":\"d\",\"device\":\"e\",\"pool\":\"\\u0070\"}",
        "{\"domain\":\"d\",\"device\":\"e\",\"pool\":\"p\",\"name\":\"\xc3\xa9\"}",
        "{\"domain\":\"d\",\"device\":\"e\",\"pool\":\"p\x7f\"}",
        "{\"domain\":\"d\",\"device\":\"e\",\"pool\":\"p\n\"}",
        "{\"domain\"\"d\",\"device\":\"e\",\"pool\":\"p\"}",
        "{\"domain\":\"d\" \"device\":\"e\",\"pool\":\"p\"}",
    };

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
        g_assert_false(scans(texts[i], strlen(texts[i])));
}

static void test_nul(void)
{
    static const char behind[] = PLAIN "\0", inside[] = "{\"domain\":\"d\0\"}";

    g_assert_false(scans(behind, sizeof(behind) - 1));
    g_assert_false(scans(inside, sizeof(inside) - 1));
}

// Any one byte of a good request changed: never taken as something that jansson would refuse.
static void test_any_byte(void)
{
    char text[] = PLAIN;

    for (gsize i = 0; i < strlen(PLAIN); i++) {
        for (guint c = 0; c < 256; c++) {
            text[i] = (char)c;
            scans(text, strlen(PLAIN));
        }
        text[i] = PLAIN[i];
    }
}

static void check_refused(const char *domain, const char *device, const char *name,
                          const char *message)
{
    VfLeaseRequest request = {domain, device, "p", name};
    g_autoptr(GError) error = NULL;

    g_assert_false(vf_lease_request_check(&request, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_INPUT);
    g_assert_cmpstr(error->message, ==, message);
}

static void test_check(void)
{
    VfLeaseRequest good = {UUID, "net0", "p", "vm 1"};

    g_assert_true(vf_lease_request_check(&good, NULL));
    check_refused("x", "net0", "", "lease: 'x' is no UUID");
    check_refused(UUID, "-x", "",
                  "lease: '-x' is no device name -- 1 to 32 letters, digits, '_' and '-', a letter "
                  "or digit first");
    check_refused(UUID, "net0", "a\nb",
                  "lease: name is no domain's name -- give up to 255 bytes without control "
                  "characters");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lease-request/taken", test_taken);
    g_test_add_func("/lease-request/left-to-jansson", test_left_to_jansson);
    g_test_add_func("/lease-request/nul", test_nul);
    g_test_add_func("/lease-request/any-byte", test_any_byte);
    g_test_add_func("/lease-request/check", test_check);
    return g_test_run();
}
