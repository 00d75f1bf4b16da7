// SPDX-License-Identifier: GPL-2.0
/*
 * The decision core, case by case, as TAP. Its argument is how many tests another
 * program will add to the stream: the plan counts them too.
 */
#include "admit_cases.h"
#include "pick_cases.h"
#include "observe_cases.h"

int main(int argc, char **argv)
{
	int first_pick = 1 + COUNT(admit_tests), first_observe = first_pick + COUNT(pick_tests);
	int last = first_observe + COUNT(observe_tests) - 1;
	int failed;

	printf("1..%d\n", last + (argc > 1 ? atoi(argv[1]) : 0));
	failed = run_tests(admit_tests, COUNT(admit_tests), 1);
	failed += run_tests(pick_tests, COUNT(pick_tests), first_pick);
	failed += run_tests(observe_tests, COUNT(observe_tests), first_observe);
	return failed > 0;
}
