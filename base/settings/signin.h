/* What the settings of signing in elsewhere must hold together. Private to base/settings. */
#ifndef CARREL_BASE_SETTINGS_SIGNIN_H
#define CARREL_BASE_SETTINGS_SIGNIN_H

#include "base/settings/settings.h"

#define OIDC_CALLBACK_PATH "/api/oidc/callback"

/* *key: the setting whose line is shown. */
enum status settings_check_signin(const struct settings *s, const char **key,
                                  struct error *err) MUST_CHECK;

#endif
