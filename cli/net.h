/* Ports. */
#ifndef CARREL_CLI_NET_H
#define CARREL_CLI_NET_H

#include <stdbool.h>

/* Could somebody listen there now? 0 is always free; an address that is no number counts as free
 * (whoever listens will say what is wrong with it). */
bool net_port_is_free(const char *host, int port);

#endif
