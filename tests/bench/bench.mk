# SPDX-License-Identifier: GPL-2.0-or-later
#
# make bench                       all benchmarks of tests/bench/table, some ten minutes
# make bench BENCH="decide …"      some of them

BENCH_BUILD = $(CC) $(CPPFLAGS_ALL) $(CFLAGS) $(WARNINGS) $(HARDENING) -Itests/bench

$(B)/bench/decide $(B)/bench/decide-region: $(B)/bench/%: tests/bench/%.c tests/bench/sample.c \
	tests/bench/sample.h $(LIB)
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(BENCH_BUILD) $(filter %.c %.a,$^) $(LDHARDENING) $(PKG_LIBS) -o $@

$(B)/bench/attach $(B)/bench/leases: $(B)/bench/%: tests/bench/%.c tests/bench/burst.c \
	tests/bench/burst.h tests/bench/sample.c tests/bench/sample.h
$(B)/bench/prepare $(B)/bench/spawn: $(B)/bench/%: tests/bench/%.c tests/bench/hook.c \
	tests/bench/hook.h tests/bench/sample.c tests/bench/sample.h

$(B)/bench/attach $(B)/bench/leases $(B)/bench/prepare $(B)/bench/spawn:
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE $(CFLAGS) $(WARNINGS) $(HARDENING) $(filter %.c,$^) \
		$(LDHARDENING) -o $@

bench: $(PROGRAMS) $(BENCH_PROGRAMS) $(B)/tests/fakekernel.so
	@BUILD=$(abspath $(B)) tests/bench/run $(BENCH)

.PHONY: bench
