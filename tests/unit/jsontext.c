// SPDX-License-Identifier: GPL-2.0-or-later
//
// JSON text: every conversion, and strings with bytes that JSON has no place for.

#include "jsontext.h"

#include <jansson.h>

#include "pciaddr.h"
#include "settings.h"

static void test_values(void)
{
    g_autoptr(GString) out = g_string_new(NULL);
    VfPciAddr address = {0, 0x3b, 2, 1};

    vf_json_append(out, "{'s':%s,'i':%i,'I':%I,'b':%b,'a':%a,'t':%t}", "text", -7,
                   G_GINT64_CONSTANT(9000000000), TRUE, &address,
                   G_GINT64_CONSTANT(1767225599999999));
    g_assert_cmpstr(out->str, ==,
                    "{\"s\":\"text\",\"i\":-7,\"I\":9000000000,\"b\":true,\"a\":\"0000:3b:02.1\","
                    "\"t\":\"2025-12-31T23:59:59Z\"}");
}

static void test_extreme_integers(void)
{
    g_autoptr(GString) out = g_string_new(NULL);

    vf_json_append(out, "[%I,%I,%i,%i]", G_MININT64, G_MAXINT64, 0, G_MININT);
    g_assert_cmpstr(out->str, ==, "[-9223372036854775808,9223372036854775807,0,-2147483648]");
}

static void test_nulls(void)
{
    g_autoptr(GString) out = g_string_new(NULL);

    vf_json_append(out, "[%s,%a,%n,%n]", NULL, NULL, VF_UNSET, 0);
    g_assert_cmpstr(out->str, ==, "[null,null,null,0]");
}

static void test_next(void)
{
    g_autoptr(GString) out = g_string_new("[");

    for (int i = 0; i < 3; i++) {
        vf_json_next(out);
        vf_json_append(out, "%i", i);
    }
    g_assert_cmpstr(out->str, ==, "[0,1,2");
}

// What is written is read back as it was.
static void test_strings(void)
{
    static const char *const texts[] = {"",    "\"",  "\\", "a\"b\\c", "a\nb\tc\x01\x1f\x7f",
                                        "é€𝄞", "'%s'"};

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GString) out = g_string_new(NULL);

        vf_json_append(out, "[%s]", texts[i]);
        json_t *json = json_loads(out->str, 0, NULL);
        g_assert_cmpstr(json_string_value(json_array_get(json, 0)), ==, texts[i]);
        json_decref(json);
    }
}

static void test_not_utf8(void)
{
    g_autoptr(GString) out = g_string_new(NULL);

    vf_json_append(out, "%s", "a\xff\"");
    g_assert_cmpstr(out->str, ==, "\"a\xef\xbf\xbd\\\"\"");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/jsontext/values", test_values);
    g_test_add_func("/jsontext/extreme-integers", test_extreme_integers);
    g_test_add_func("/jsontext/nulls", test_nulls);
    g_test_add_func("/jsontext/next", test_next);
    g_test_add_func("/jsontext/strings", test_strings);
    g_test_add_func("/jsontext/not-utf8", test_not_utf8);
    return g_test_run();
}
