# SPDX-License-Identifier: GPL-2.0-or-later
#
# Fuzz targets: tests/fuzz/NAME.c becomes $(B)/fuzz/NAME, a libFuzzer program linked with the
# library, which is compiled once for all of them under the same sanitizers in its own object tree.
# Seeds are in tests/fuzz/corpus/NAME/, words of the format in tests/fuzz/NAME.dict (optional).
# `make check-fuzz FUZZ_SECONDS=600` runs them all, `make $(B)/fuzz/NAME` builds one.

FUZZ_NAMES := \
	config \
	domxml \
	hook \
	http \
	qmp

FUZZ_SECONDS ?= 60
FUZZ_CC ?= clang
FUZZ_FLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
	-fno-sanitize-recover=undefined
FO := $(B)/fuzz/obj
FUZZ_LIB := $(FO)/libvirtfn.a
FUZZ_PROGRAMS := $(FUZZ_NAMES:%=$(B)/fuzz/%)

$(FO)/%.o: %.c
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(FUZZ_CC) $(CPPFLAGS_ALL) $(WARNINGS) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -MMD -MP \
		-c $< -o $@

# What the library holds besides compiled sources is the same in every flavour.
$(FUZZ_LIB): $(LIB_SOURCES:%.c=$(FO)/%.o) $(filter-out $(LIB_SOURCES:%.c=$(O)/%.o),$(LIB_OBJECTS))
	@rm -f $@
	$(Q)ar rcs $@ $^

$(FUZZ_PROGRAMS): $(B)/fuzz/%: $(FO)/tests/fuzz/%.o $(FUZZ_LIB)
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer $^ -Wl,--as-needed $(PKG_LIBS) -o $@

check-fuzz: $(FUZZ_PROGRAMS)
	@tests/tap --live $(CHECK) fuzz tests/fuzz/run $(B)/fuzz $(FUZZ_SECONDS) $(FUZZ_NAMES)

-include $(shell find $(FO) -name '*.d' 2>/dev/null)

.PHONY: check-fuzz
