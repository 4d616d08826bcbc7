// SPDX-License-Identifier: GPL-2.0-or-later
//
// Plain objects: what is taken and what is left to jansson; and that jansson takes whatever is
// taken here, with the same values, asked with texts that were damaged at random.

#include "jsonplain.h"

#include <string.h>

typedef struct {
    const char *name, *pool;
    json_int_t weight;
    int sharing;
} Values;

static const Values unset = {NULL, "none", 7, -1};

static gboolean read_plain(char *text, gsize length, Values *values)
{
    const VfPlainMember members[] = {
        {"name", VF_PLAIN_STRING, TRUE, &values->name},
        {"pool", VF_PLAIN_STRING, FALSE, &values->pool},
        {"weight", VF_PLAIN_INTEGER, FALSE, &values->weight},
        {"sharing", VF_PLAIN_BOOLEAN, FALSE, &values->sharing},
    };

    *values = unset;
    return vf_json_plain(text, length, members, G_N_ELEMENTS(members));
}

static void assert_same(const Values *a, const Values *b)
{
    g_assert_cmpstr(a->name, ==, b->name);
    g_assert_cmpstr(a->pool, ==, b->pool);
    g_assert_cmpint(a->weight, ==, b->weight);
    g_assert_cmpint(a->sharing, ==, b->sharing);
}

static void assert_taken(const char *text, const char *name, const char *pool, json_int_t weight,
                         int sharing)
{
    g_autofree char *copy = g_strdup(text);
    Values values, expected = {name, pool, weight, sharing};

    g_assert_true(read_plain(copy, strlen(copy), &values));
    assert_same(&values, &expected);
}

static void test_taken(void)
{
    assert_taken("{\"name\":\"vm1\"}", "vm1", "none", 7, -1);
    assert_taken(" {\t\"name\" :\r\n\"\" , \"pool\":\"a b\"} ", "", "a b", 7, -1);
    assert_taken("{\"sharing\":true,\"weight\":0,\"name\":\"x\"}", "x", "none", 0, 1);
    assert_taken("{\"sharing\": false,\"weight\": -12,\"name\":\"x\"}", "x", "none", -12, 0);
    assert_taken("{\"weight\":999999999999999999,\"name\":\"{},:\"}", "{},:", "none",
                 G_GINT64_CONSTANT(999999999999999999), -1);
}

// Left alone, byte for byte, with the values that were there.
static void test_left(void)
{
    static const char *const texts[] = {
        "",
        "{",
        "{}",
        "[]",
        "\"name\"",
        "{\"name\"}",
        "{\"name\":}",
        "{\"name\":null}",
        "{\"name\":1}",
        "{\"name\":\"x}",
        "{\"name\":\"x\"",
        "{\"name\":\"x\",}",
        "{,\"name\":\"x\"}",
        "{\"name\":\"x\"}}",
        "{\"name\":\"x\"}x",
        "{\"name\":\"x\\\"\"}",
        "{\"name\":\"\\u0041\"}",
        "{\"name\":\"\xc3\xa4\"}",
        "{\"name\":\"\x7f\"}",
        "{\"name\":\"\n\"}",
        "{\"name\":\"x\",\"name\":\"x\"}",
        "{\"name\":\"x\",\"other\":\"x\"}",
        "{\"nam\":\"x\"}",
        "{\"names\":\"x\"}",
        "{\"pool\":\"x\"}",
        "{\"name\":\"x\" \"pool\":\"x\"}",
        "{\"name\":\"x\",\"weight\":01}",
        "{\"name\":\"x\",\"weight\":-}",
        "{\"name\":\"x\",\"weight\":- 1}",
        "{\"name\":\"x\",\"weight\":1.0}",
        "{\"name\":\"x\",\"weight\":1e2}",
        "{\"name\":\"x\",\"weight\":+1}",
        "{\"name\":\"x\",\"weight\":\"1\"}",
        "{\"name\":\"x\",\"weight\":1000000000000000000}",
        "{\"name\":\"x\",\"sharing\":1}",
        "{\"name\":\"x\",\"sharing\":True}",
        "{\"name\":\"x\",\"sharing\":truefalse}",
    };

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autofree char *copy = g_strdup(texts[i]);
        Values values;

        g_test_message("%s", texts[i]);
        g_assert_false(read_plain(copy, strlen(copy), &values));
        g_assert_cmpstr(copy, ==, texts[i]);
        assert_same(&values, &unset);
    }
}

// The end is the length's, whatever follows; a zero byte is none.
static void test_length(void)
{
    char text[] = "{\"name\":\"x\"}{", zero[] = "{\"name\":\"x\0\"}";
    Values values;

    g_assert_false(read_plain(text, strlen(text) - 2, &values));
    g_assert_true(read_plain(text, strlen(text) - 1, &values));
    g_assert_false(read_plain(zero, sizeof(zero) - 1, &values));
}

static void damage(GString *text)
{
    static const char bytes[] = "{}[]\":,\\ \n\t-+.eE01289atrufls\x7f\x80\xc3";
    guint at = (guint)g_test_rand_int_range(0, (gint32)text->len + 1);
    char byte = bytes[g_test_rand_int_range(0, sizeof(bytes))];

    switch (g_test_rand_int_range(0, 3)) {
    case 0:
        g_string_insert_c(text, at, byte);
        break;
    case 1:
        g_string_erase(text, at, at < text->len ? 1 : 0);
        break;
    default:
        if (at < text->len)
            text->str[at] = byte;
    }
}

static void test_as_jansson(void)
{
    static const char *const seeds[] = {
        "{\"name\":\"vm1\",\"pool\":\"p\",\"weight\":12,\"sharing\":true}",
        "{ \"weight\" : -10, \"name\":\"a0\" }",
        "{\"sharing\":false,\"name\":\"e1\"}\n",
    };
    guint taken = 0;

    for (guint i = 0; i < 100000; i++) {
        g_autoptr(GString) text = g_string_new(seeds[i % G_N_ELEMENTS(seeds)]);
        Values mine, theirs = unset;

        for (gint32 n = g_test_rand_int_range(0, 4); n > 0; n--)
            damage(text);
        json_t *json = json_loadb(text->str, text->len, JSON_REJECT_DUPLICATES, NULL);
        int failed = json_unpack_ex(json, NULL, JSON_STRICT, "{s:s, s?s, s?I, s?b}", "name",
                                    &theirs.name, "pool", &theirs.pool, "weight", &theirs.weight,
                                    "sharing", &theirs.sharing);

        if (read_plain(text->str, text->len, &mine)) {
            g_assert_cmpint(failed, ==, 0);
            assert_same(&mine, &theirs);
            taken++;
        }
        json_decref(json);
    }
    g_assert_cmpuint(taken, >, 10000);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/jsonplain/taken", test_taken);
    g_test_add_func("/jsonplain/left", test_left);
    g_test_add_func("/jsonplain/length", test_length);
    g_test_add_func("/jsonplain/as-jansson", test_as_jansson);
    return g_test_run();
}
