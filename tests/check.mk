# SPDX-License-Identifier: GPL-2.0-or-later
#
# make check and its parts. Each part leaves TAP in $(CHECK); the closing line counts all of them, so a part
# that fails does not keep the others from running.

CHECK := $(abspath $(B))/check
# Scenarios of the emulated host, and those that run once more with a sanitized build of virtfn.
HOST_SCENARIOS ?= machine demo guest boot crowd crash pause pause-nvme reconf accelerators
HOST_SANITIZED ?= boot

check:
	@rm -rf $(CHECK) build/sanitize/check
	@tests/install-deps
	@status=0; for part in lint check-unit check-bats check-fuzz check-sanitize check-qemu \
	    check-host; do \
	    echo "== $$part"; $(MAKE) --no-print-directory -j$$(nproc) $$part || status=1; done; \
	    cp build/sanitize/check/* $(CHECK) 2>/dev/null; tests/tap --sum $(CHECK) && exit $$status

# Test programs and bats files share nothing, so as many run at a time as there are processors.
CHECK_JOBS ?= $(shell nproc)

check-unit: $(UNIT_TESTS)
	@printf '%s\n' $(UNIT_NAMES) | xargs -P $(CHECK_JOBS) -I @ \
	    tests/tap $(CHECK) unit$(FLAVOUR)-@ $(B)/tests/@

check-bats: $(PROGRAMS) $(BATS_PROGRAMS)
	@basename -as .bats $(BATS) | BUILD=$(abspath $(B)) xargs -P $(CHECK_JOBS) -I @ \
	    tests/tap $(CHECK) bats$(FLAVOUR)-@ bats --tap tests/bats/@.bats

# Every tenth crash point and every twentieth history: they are slow under a sanitizer.
check-sanitize:
	@VIRTFN_CRASH_EVERY=10 VIRTFN_HISTORIES=0:500 \
	    $(MAKE) --no-print-directory -j$$(nproc) SANITIZE=1 check-unit

# The pause extension of QEMU; what is not cached yet is built first, twice: plain and with sanitizers.
check-qemu:
	@tests/tap --live $(CHECK) qemu plugin/qemu/test

# What the emulated host is made of, built once and cached: QEMU, its disk, its guests.
host-image:
	@mkdir -p build/host
	@echo "the emulated host: making what is not cached yet, log in build/host/image.log"
	@tests/host/image >build/host/image.log 2>&1 || { tail -n 40 build/host/image.log; exit 1; }

check-host: all man host-image
	@status=0; for scenario in $(HOST_SCENARIOS); do \
	    tests/tap --live $(CHECK) host-$$scenario tests/host/run --timeout 1200 $$scenario || status=1; done; \
	    for scenario in $(HOST_SANITIZED); do SANITIZE=1 tests/tap --live $(CHECK) \
	    host-sanitize-$$scenario tests/host/run --timeout 1200 --results $(B)/host/sanitize-$$scenario $$scenario || \
	    status=1; done; exit $$status

demo:
	@tests/install-deps build host
	@$(MAKE) --no-print-directory -j$$(nproc) all man host-image
	@tests/host/demo

host:
	@tests/install-deps build host
	@$(MAKE) --no-print-directory -j$$(nproc) all man host-image
	@tests/host/run --shell

# Style, shell scripts, and the arrows between parts that must not exist.
lint: export CLANG = clang $(CPPFLAGS_ALL) $(WARNINGS) -fsyntax-only
lint: $(PROGRAMS)
	@tests/tap $(CHECK) lint tests/lint $(B)

.PHONY: check check-unit check-bats check-sanitize check-qemu check-host demo host host-image lint
