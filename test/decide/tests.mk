# The decision core in user space, with sanitizers: cases, then a bounded fuzz run.
# Included by bpf/Makefile, so paths are from bpf/.

DECIDE := ../test/decide
DECIDE_SOURCES := $(wildcard $(DECIDE)/*.h) model/model.c nity.bpf.c $(HEADERS)
SANITIZE := -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_SECONDS ?= 12

$(BUILD)/test/decide_test: $(DECIDE)/decide_test.c $(DECIDE_SOURCES) | $(BUILD)
	$(CLANG) $(SANITIZE) $(C_WARNINGS) -std=gnu11 $< -o $@

$(BUILD)/test/decide_fuzz: $(DECIDE)/decide_fuzz.c $(DECIDE_SOURCES) | $(BUILD)
	$(CLANG) $(SANITIZE) -fsanitize=fuzzer $(C_WARNINGS) -std=gnu11 $< -o $@

# A fixed seed, so that a run can be repeated; a finding is left as a file to run again.
test: $(BUILD)/test/decide_test $(BUILD)/test/decide_fuzz
	@status=0; \
	$(BUILD)/test/decide_test || status=1; \
	if $(BUILD)/test/decide_fuzz -seed=1 -max_total_time=$(FUZZ_SECONDS) -max_len=512 \
		-artifact_prefix=$(BUILD)/test/ >$(BUILD)/test/fuzz.log 2>&1; \
	then echo "ok 1000 - fuzz: $$(tail -n 1 $(BUILD)/test/fuzz.log)"; \
	else tail -n 40 $(BUILD)/test/fuzz.log | sed 's/^/# /'; \
		echo "not ok 1000 - fuzz: see bpf/build/test/fuzz.log"; status=1; fi; \
	exit $$status

.PHONY: test
