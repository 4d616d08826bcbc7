// SPDX-License-Identifier: GPL-2.0-or-later
//
// Settings: what each key takes and refuses, the text form, merging, and the checks of what only
// makes sense together. Quoting of hostile values is tested here too, through its messages.

#include "settings.h"

#include <string.h>

#include "error.h"
#include "quote.h"

static void test_round_trip(void)
{
    static const char *const good[][3] = {
        {"mac", "52:54:00:AB:cd:56", "52:54:00:ab:cd:56"},
        {"vlan", "0", "0"},
        {"vlan", "4094", "4094"},
        {"qos", "7", "7"},
        {"trust", "on", "on"},
        {"trust", "no", "off"},
        {"spoofchk", "true", "on"},
        {"spoofchk", "0", "off"},
        {"link-state", "auto", "auto"},
        {"link-state", "enable", "enable"},
        {"link-state", "disable", "disable"},
        {"min-rate", "0", "0"},
        {"max-rate", "1000000", "1000000"},
        {"msix", "0", "0"},
        {"queues", "65535", "65535"},
        {"interrupts", "1", "1"},
        {"qmax", "2048", "2048"},
        {"program", "/usr/local/sbin/set up", "/usr/local/sbin/set up"},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(good); i++) {
        g_autoptr(GError) error = NULL;
        VfSettings settings;

        vf_settings_init(&settings);
        vf_settings_set(&settings, good[i][0], good[i][1], &error);
        g_assert_no_error(error);
        for (const char *const *key = vf_settings_keys; *key != NULL; key++) {
            g_autofree char *text = vf_settings_get(&settings, *key);

            g_assert_cmpstr(text, ==, g_str_equal(*key, good[i][0]) ? good[i][2] : NULL);
        }
        vf_settings_clear(&settings);
    }
}

static void test_refused(void)
{
    static const char *const bad[][2] = {
        {"mac", ""},
        {"mac", "52:54:00:12:34"},
        {"mac", "52:54:00:12:34:56 "},
        {"mac", "52-54-00-12-34-56"},
        {"mac", "52:54:00:12:34:5g"},
        {"mac", "01:00:5e:00:00:01"},
        {"mac", "00:00:00:00:00:00"},
        {"vlan", ""},
        {"vlan", "4095"},
        {"vlan", "-1"},
        {"vlan", "+1"},
        {"vlan", " 1"},
        {"vlan", "0x10"},
        {"vlan", "99999999999999999999"},
        {"qos", "8"},
        {"trust", "On"},
        {"spoofchk", "2"},
        {"link-state", "up"},
        {"min-rate", "1000001"},
        {"msix", "2049"},
        {"queues", "0"},
        {"interrupts", "65536"},
        {"qmax", "0"},
        {"program", "setup"},
        {"program", "/bin/a\nb"},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        VfSettings settings;

        vf_settings_init(&settings);
        if (vf_settings_set(&settings, bad[i][0], bad[i][1], &error))
            g_error("%s='%s' was accepted", bad[i][0], bad[i][1]);
        g_assert_error(error, VF_ERROR, VF_ERROR_INPUT);
        g_autofree char *text = vf_settings_get(&settings, bad[i][0]);
        g_assert_null(text);
    }
}

static void test_messages(void)
{
    g_autoptr(GError) range = NULL, unknown = NULL;
    VfSettings settings;

    vf_settings_init(&settings);
    g_assert_false(vf_settings_set(&settings, "vlan", "5000", &range));
    g_assert_cmpstr(range->message, ==,
                    "vlan: '5000' is not valid" VF_REMEDY "give a number from 0 to 4094");
    g_assert_false(vf_settings_set(&settings, "vlam", "5", &unknown));
    g_assert_error(unknown, VF_ERROR, VF_ERROR_NOT_FOUND);
    g_assert_true(g_str_has_prefix(unknown->message, "'vlam': no such setting" VF_REMEDY));
}

static void test_program_replaced(void)
{
    VfSettings settings;

    vf_settings_init(&settings);
    g_assert_true(vf_settings_set(&settings, "program", "/bin/one", NULL));
    g_assert_true(vf_settings_set(&settings, "program", "/bin/two", NULL));
    g_assert_cmpstr(settings.program, ==, "/bin/two");
    vf_settings_clear(&settings);
    g_assert_null(settings.program);
}

static void test_merge(void)
{
    VfSettings base, over, out;

    vf_settings_init(&base);
    vf_settings_init(&over);
    vf_settings_set(&base, "vlan", "10", NULL);
    vf_settings_set(&base, "trust", "on", NULL);
    vf_settings_set(&base, "program", "/bin/base", NULL);
    vf_settings_set(&over, "vlan", "0", NULL);
    vf_settings_set(&over, "mac", "52:54:00:00:00:01", NULL);
    vf_settings_merge(&out, &base, &over);
    vf_settings_clear(&base);
    vf_settings_clear(&over);

    g_autofree char *mac = vf_settings_get(&out, "mac");
    g_assert_cmpstr(mac, ==, "52:54:00:00:00:01");
    g_assert_cmpint(out.vlan, ==, 0);
    g_assert_cmpint(out.trust, ==, 1);
    g_assert_cmpint(out.qos, ==, VF_UNSET);
    g_assert_cmpstr(out.program, ==, "/bin/base");
    vf_settings_clear(&out);
}

static void test_check(void)
{
    static const struct {
        const char *a, *a_value, *b, *b_value;
        const char *message; // NULL = accepted
    } cases[] = {
        {"qos", "3", "vlan", "42", NULL},
        {"qos", "0", "trust", "on", NULL},
        {"min-rate", "10", "max-rate", "0", NULL},
        {"min-rate", "10", "max-rate", "10", NULL},
        {"qos", "3", "vlan", "0", "qos: 3 is given without a vlan"},
        {"qos", "3", "trust", "on", "qos: 3 is given without a vlan"},
        {"min-rate", "11", "max-rate", "10", "min-rate: 11 is more than max-rate 10"},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        VfSettings settings;

        vf_settings_init(&settings);
        g_assert_true(vf_settings_set(&settings, cases[i].a, cases[i].a_value, NULL));
        g_assert_true(vf_settings_set(&settings, cases[i].b, cases[i].b_value, NULL));
        g_assert_cmpint(vf_settings_check(&settings, &error), ==, cases[i].message == NULL);
        if (cases[i].message == NULL)
            continue;
        g_assert_error(error, VF_ERROR, VF_ERROR_INPUT);
        g_assert_true(g_str_has_prefix(error->message, cases[i].message));
    }
}

static void test_quote(void)
{
    static const struct {
        const char *text;
        gssize length;
        const char *quoted;
    } cases[] = {
        {"", -1, "''"},
        {"net0", -1, "'net0'"},
        {"net0", 3, "'net'"},
        {"a\nb\tc", -1, "'a?b?c'"},
        {"a\0b", 3, "'a?b'"},
        {"caf\xc3\xa9", -1, "'caf\xc3\xa9'"},
        {"caf\xc3\xa9", 4, "'caf?'"},
        {"\xff\xfez", -1, "'??z'"},
        {"0123456789012345678901234567890123456789", -1,
         "'0123456789012345678901234567890123456789'"},
        {"0123456789012345678901234567890123456789x", -1,
         "'0123456789012345678901234567890123456789...'"},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *quoted = vf_quote(cases[i].text, cases[i].length);

        g_assert_cmpstr(quoted, ==, cases[i].quoted);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/settings/round-trip", test_round_trip);
    g_test_add_func("/settings/refused", test_refused);
    g_test_add_func("/settings/messages", test_messages);
    g_test_add_func("/settings/program-replaced", test_program_replaced);
    g_test_add_func("/settings/merge", test_merge);
    g_test_add_func("/settings/check", test_check);
    g_test_add_func("/settings/quote", test_quote);
    return g_test_run();
}
