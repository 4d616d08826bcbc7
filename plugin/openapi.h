// SPDX-License-Identifier: GPL-2.0-or-later
//
// plugin/openapi.json as the daemon serves it at GET /openapi.json.

#pragma once

extern const char vf_openapi_json[];
