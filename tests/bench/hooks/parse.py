#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The Python hook that hook-unrelated is compared with: parses the XML and looks for the element.

import sys
import xml.etree.ElementTree as ElementTree

domain = ElementTree.parse(sys.stdin)
if domain.find("metadata/{urn:virtfn:domain:1.0}devices") is not None:
    sys.exit(f"{sys.argv[0]}: the benchmark's domain has no annotation")
