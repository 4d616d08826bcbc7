# SPDX-License-Identifier: GPL-2.0-or-later
#
# Unit tests: tests/unit/NAME.c becomes $(B)/tests/NAME, a g_test program linked with the library
# and the fake kernel. `make check-unit` runs them all, `make $(B)/tests/NAME` builds one.

UNIT_NAMES := \
	config \
	pciaddr \
	settings

# What bats files and benchmarks run besides $(PROGRAMS).
BATS_PROGRAMS := \
	$(B)/tests/50-virtfn-quick

BENCH_PROGRAMS := \
	$(B)/bench/spawn

UNIT_TESTS := $(UNIT_NAMES:%=$(B)/tests/%)

$(B)/tests/%: $(O)/tests/unit/%.o $(LIB)
	@mkdir -p $(@D)
	$(CC) $(LDHARDENING) $^ $(PKG_LIBS) -o $@
