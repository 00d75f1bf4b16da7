# The decision core in user space, with sanitizers: cases, then a bounded fuzz run.
# Included by bpf/Makefile, so paths are from bpf/.

DECIDE := ../test/decide
DECIDE_SOURCES := $(wildcard $(DECIDE)/*.h) model/model.c nity.bpf.c $(HEADERS)
SANITIZE := -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_SECONDS ?= 12

$(BUILD)/test/decide_test: $(DECIDE)/decide_test.c $(DECIDE_SOURCES) | $(BUILD)
	@mkdir -p $(@D)
	$(CLANG) $(SANITIZE) $(C_WARNINGS) -std=gnu11 -pthread $< -o $@

$(BUILD)/test/decide_fuzz: $(DECIDE)/decide_fuzz.c $(DECIDE_SOURCES) | $(BUILD)
	@mkdir -p $(@D)
	$(CLANG) $(SANITIZE) -fsanitize=fuzzer $(C_WARNINGS) -std=gnu11 $< -o $@

# One stream of TAP: the plan comes first and counts the fuzz run as the last test.
# A fixed seed, so that a run can be repeated; a finding is left as a file to run again.
test: $(BUILD)/test/decide_test $(BUILD)/test/decide_fuzz
	@status=0; cd $(BUILD)/test; \
	./decide_test 1 >decide.tap 2>decide.log || status=1; \
	cat decide.tap; sed 's/^/# /' decide.log; \
	last=$$(sed -n 's/^1\.\.//p' decide.tap); \
	if ./decide_fuzz -seed=1 -max_total_time=$(FUZZ_SECONDS) -max_len=512 >fuzz.log 2>&1; \
	then echo "ok $$last - fuzz: $$(tail -n 1 fuzz.log)"; \
	else tail -n 40 fuzz.log | sed 's/^/# /'; \
		echo "not ok $$last - fuzz: see bpf/$(BUILD)/test/fuzz.log"; status=1; fi; \
	exit $$status

.PHONY: test
