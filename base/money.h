/* Money in millionths, as text. */
#ifndef CARREL_BASE_MONEY_H
#define CARREL_BASE_MONEY_H

#include <stdint.h>

#define MONEY_CAP 32

/* "1250.00", "2.5031", "0.000718": two digits from a hundred on, four from one on, and all six
 * below, without zeros at the end beyond two: what is not nothing is never shown as nothing. */
void money_text(char out[MONEY_CAP], int64_t micro);
/* All that there is: "12.500000". */
void money_exact(char out[MONEY_CAP], int64_t micro);

#endif
