# SPDX-License-Identifier: GPL-2.0-or-later
#
# Manual pages: man/PAGE.rst becomes $(B)/man/PAGE. A page that is not written yet is left out of
# the build by leaving it out of the list.

MAN_PAGES := \
	virtfn-domain.5 \
	virtfn-hooks.7 \
	virtfn-qemu.7 \
	virtfn.8 \
	virtfn.conf.5 \
	virtfnd.8

RST2MAN ?= rst2man

man: $(MAN_PAGES:%=$(B)/man/%)

$(B)/man/%: man/%.rst
	@mkdir -p $(@D)
	$(RST2MAN) --strict $< $@

.PHONY: man
