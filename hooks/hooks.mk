# SPDX-License-Identifier: GPL-2.0-or-later
#
# The libvirt hook, and its twin with a short deadline for the tests.
#
# What an unrelated domain pays for is the start of the process, so the hook is one static file
# made with musl where musl-gcc is installed (0.14 ms to fork, run and wait) and with the C
# compiler's libc elsewhere (static 0.66 ms, dynamic 0.78 ms: glibc asks cpuid dozens of times as
# it starts, and each one traps in a virtual machine). Not position independent: that is a quarter
# more, and all other hardening is free.

HOOK_SOURCES := hooks/ask.c hooks/qemu.c
HOOK_CC ?= $(if $(FLAVOUR),$(CC),$(firstword $(shell command -v musl-gcc) $(CC)))
HOOK_LDFLAGS ?= $(if $(FLAVOUR),$(LDHARDENING),-static -Wl,-z,relro,-z,now)
HOOK_BUILD = $(HOOK_CC) -std=gnu11 -D_GNU_SOURCE $(CFLAGS) $(WARNINGS) \
	$(if $(FLAVOUR),$(HARDENING),$(filter-out -fPIE,$(HARDENING)) -fno-pie)

$(B)/50-virtfn: $(HOOK_SOURCES) hooks/ask.h
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(HOOK_BUILD) $(HOOK_SOURCES) $(HOOK_LDFLAGS) -o $@

$(B)/tests/50-virtfn-quick: $(HOOK_SOURCES) hooks/ask.h
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(HOOK_BUILD) -DVF_HOOK_TIMEOUT_MS=600 $(HOOK_SOURCES) $(HOOK_LDFLAGS) -o $@
