# SPDX-License-Identifier: GPL-2.0-or-later
#
# Turns xml-templates/NAME.xml.in into the C string vf_template_NAME, so that the file is what the
# renderer inserts. Comment lines of a template stay behind.

TEMPLATE_NAMES := hostdev qmp

$(O)/templates.c: $(TEMPLATE_NAMES:%=xml-templates/%.xml.in) xml-templates/templates.mk
	@mkdir -p $(@D)
	$(Q){ echo '#include "templates.h"'; for name in $(TEMPLATE_NAMES); do \
	    echo "const char vf_template_$$name[] ="; \
	    sed -e '/^<!--/d' -e 's/[\\"]/\\&/g' -e 's/.*/    "&\\n"/' xml-templates/$$name.xml.in; \
	    echo '    ;'; done; } > $@

$(O)/templates.o: $(O)/templates.c
	$(say) CC $@
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS) $(WARNINGS) $(HARDENING) -MMD -MP -c $< -o $@
