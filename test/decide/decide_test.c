// SPDX-License-Identifier: GPL-2.0
/*
 * The decision core, case by case, as TAP. Its argument is how many tests another
 * program will add to the stream: the plan counts them too.
 */
#include "admit_cases.h"
#include "pick_cases.h"
#include "standing_cases.h"
#include "observed_cases.h"
#include "observe_cases.h"
#include "client_cases.h"
#include "bounded_cases.h"
#include "exchange_cases.h"
#include "tls_cases.h"
#include "waiting_cases.h"
#include "waiting_race_cases.h"

static const struct {
	const struct test *tests;
	size_t count;
} groups[] = {
	{ admit_tests, COUNT(admit_tests) },
	{ pick_tests, COUNT(pick_tests) },
	{ standing_tests, COUNT(standing_tests) },
	{ observed_tests, COUNT(observed_tests) },
	{ observe_tests, COUNT(observe_tests) },
	{ client_tests, COUNT(client_tests) },
	{ bounded_tests, COUNT(bounded_tests) },
	{ exchange_tests, COUNT(exchange_tests) },
	{ tls_tests, COUNT(tls_tests) },
	{ waiting_tests, COUNT(waiting_tests) },
	{ waiting_race_tests, COUNT(waiting_race_tests) },
};

int main(int argc, char **argv)
{
	int planned = argc > 1 ? atoi(argv[1]) : 0, number = 1, failed = 0;

	for (size_t i = 0; i < COUNT(groups); i++)
		planned += groups[i].count;
	printf("1..%d\n", planned);
	for (size_t i = 0; i < COUNT(groups); number += groups[i++].count)
		failed += run_tests(groups[i].tests, groups[i].count, number);
	return failed > 0;
}
