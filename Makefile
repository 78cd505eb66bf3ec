# Makefile: how the project is tested, linted and measured.
# `make test` is the README's command; .ci/run calls it with CI=true.

SHELL := /bin/bash
GO ?= go
COVER_MIN ?= 94
FUZZTIME ?= 10s
COVERDIR := $(CURDIR)/dist/cover

.PHONY: test lint cover bench fuzz

# With CI=true a missing part fails; otherwise it is skipped, and this says so.
test:
	@test -z "$$(gofmt -l .)" || { echo "not formatted:"; gofmt -l .; exit 1; }
	@command -v chromium >/dev/null || { echo "SKIP: browser tests need chromium (apt-get install chromium)"; [ "$$CI" != true ]; }
	$(GO) vet ./...
	$(GO) test -race -shuffle=on -timeout 12m ./...

# golangci-lint v2.15.0, which takes minutes to build and so is no part of CI:
# go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
lint:
	golangci-lint run --tests=false

# Unit and integration coverage together: the integration tests build the
# server with -cover and collect its data.
cover:
	rm -rf $(COVERDIR) && mkdir -p $(COVERDIR)/unit $(COVERDIR)/built
	$(GO) test -short -cover -coverpkg=.,./internal/... . ./internal/... -args -test.gocoverdir=$(COVERDIR)/unit
	REGISTRATION_COVERDIR=$(COVERDIR)/built $(GO) test -short -count=1 ./integration
	$(GO) tool covdata textfmt -i=$(COVERDIR)/unit,$(COVERDIR)/built -o $(COVERDIR)/profile
	@grep -v -E '/(cmd|storetest)/' $(COVERDIR)/profile > $(COVERDIR)/own
	@$(GO) tool cover -func=$(COVERDIR)/own | tail -1
	@$(GO) tool cover -func=$(COVERDIR)/own | awk '/^total/ { sub("%","",$$3); if ($$3+0 < $(COVER_MIN)) { print "under $(COVER_MIN) %"; exit 1 } }'

bench:
	$(GO) test -run '^$$' -bench . -benchmem . ./internal/...

fuzz:
	@set -e; for pkg in . ./internal/password; do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep ^Fuzz); do \
	    $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; done; done
