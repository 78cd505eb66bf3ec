# Makefile: how the project is tested, linted and measured.
# `make test` is the README's command; .ci/run calls it with CI=true.

SHELL := /bin/bash
GO ?= go
COVER_MIN ?= 94
FUZZTIME ?= 10s
COVERDIR := $(CURDIR)/dist/cover
RACE := $(shell command -v $${CC:-gcc} >/dev/null && echo -race)
UNITS = $$($(GO) list ./... | grep -v /integration)
COVERED = -cover -covermode=atomic -coverpkg=.,./internal/...,./store/...,./mail/...

.PHONY: attack faults postgres test lint cover bench gobench fuzz timing

# All tests, with the coverage of unit and integration tests for `make cover`.
# With CI=true a missing part fails; otherwise it is skipped, and this says so.
# The integration tests build their own Caddy, without the race detector: their
# figures of memory and time are those of what people run.
test:
	@test -z "$$(gofmt -l .)" || { echo "not formatted:"; gofmt -l .; exit 1; }
	@missing() { echo "SKIP: $$1"; [ "$$CI" != true ]; }; \
	  command -v chromium >/dev/null || missing "browser tests need chromium (apt-get install chromium)"; \
	  command -v w3m >/dev/null || missing "text browser tests need w3m (apt-get install w3m)"; \
	  command -v tmux >/dev/null || missing "the tests of the command line on a terminal need tmux (apt-get install tmux)"; \
	  command -v fail2ban-regex >/dev/null || missing "the test of the fail2ban filter needs fail2ban (apt-get install fail2ban)"; \
	  command -v systemd-analyze >/dev/null || missing "the test of the systemd unit needs systemd-analyze (apt-get install systemd)"; \
	  command -v htpasswd >/dev/null || missing "the recipe of htpasswd needs htpasswd (apt-get install apache2-utils)"; \
	  /usr/bin/python3 -c 'import django, bcrypt, argon2' 2>/dev/null || missing "the recipe of Django needs Debian's (apt-get install python3-django python3-bcrypt python3-argon2)"; \
	  [ -d /usr/lib/postgresql ] || missing "the tests of the store in PostgreSQL need a server (apt-get install postgresql)"; \
	  PATH="$$PATH:/usr/sbin" command -v pgbouncer >/dev/null || missing "the test of several nodes behind a pooler needs pgbouncer (apt-get install pgbouncer)"; \
	  command -v curl >/dev/null || missing "the test of docs/api.md needs curl (apt-get install curl)"; \
	  command -v npm >/dev/null || missing "tests with tools from npm need nodejs and npm (apt-get install nodejs npm)"; \
	  [ -z "$(RACE)" ] && missing "the race detector needs a C compiler (apt-get install gcc libc6-dev)" || true
	@if command -v npm >/dev/null; then cd integration/web && npm ci --no-audit --no-fund --loglevel=error; fi
	rm -rf $(COVERDIR) && mkdir -p $(COVERDIR)/unit $(COVERDIR)/built
	$(GO) vet ./...
	$(GO) test $(RACE) -shuffle=on -timeout 40m $(COVERED) $(UNITS) -args -test.gocoverdir=$(COVERDIR)/unit
	REGISTRATION_COVERDIR=$(COVERDIR)/built $(GO) test -count=1 -shuffle=on -timeout 40m -p 1 ./integration/...
	cd integration/kubernetes && $(GO) test ./...
	cd integration/provider && $(GO) vet ./... && REGISTRATION_COVERDIR=$(COVERDIR)/built $(GO) test -count=1 -shuffle=on -timeout 20m ./...

# What a fault does to the server, at full length: some 80 minutes, 30 of them the
# soak, 20 the nodes. One fault alone: make faults RUN=Overload (or Killed, Stopped, Administration, Clock, DiskFull, ReadOnly,
# Damaged, WrongFile, DiskFails, MailServer, Reload, Soak, Nodes, Network, Upgrade, Move).
RUN ?=
FAULTS := $(CURDIR)/dist/faults.md
faults:
	@mkdir -p $(dir $(FAULTS)) && rm -f $(FAULTS).rows
	REGISTRATION_FAULTS=long REGISTRATION_FAULTS_TABLE=$(FAULTS).rows $(GO) test -count=1 -p 1 -timeout 90m -run 'TestFault.*$(RUN)' ./internal/audit ./internal/outbox ./internal/session ./internal/web ./store/bolt ./store/postgres ./integration/faults ./integration/cluster; code=$$?; \
	{ echo '| fault | must hold | seen | verdict |'; echo '|---|---|---|---|'; cat $(FAULTS).rows 2>/dev/null; } > $(FAULTS); cat $(FAULTS); exit $$code

# All tests that are not about the embedded store itself, with the accounts in PostgreSQL: those
# of the packages, then those of the built Caddy.
postgres:
	.ci/postgres $(GO) test -count=1 -timeout 60m $$($(GO) list ./... | grep -v '/store/\|/integration\|/bench\|/mail')
	.ci/postgres $(GO) test -count=1 -timeout 60m -p 1 $$($(GO) list ./integration/... | grep -v '/cluster')
	cd integration/provider && ../../.ci/postgres $(GO) test -count=1 -timeout 20m ./...

# What an attacker tries, at full length, against each package and the built Caddy:
# all tests of these files (cost, links, names, who waits, what ends what …), and
# some of the integration. One kind alone, by a part of the tests' names:
# make attack RUN=Flood. The verdicts and what was seen are left in dist/attack.txt.
ATTACK := $(CURDIR)/dist/attack.txt
ATTACKS = $(shell git ls-files '*hardening*_test.go') internal/account/waiting_test.go internal/account/undo_test.go internal/account/reauth_test.go \
  internal/account/account_test.go internal/account/logins_test.go internal/session/session_end_test.go store/bolt/*waiting*_test.go internal/names/*_test.go internal/budget/*_test.go internal/identity/*_test.go
ATTACKS_BUILT = TestMailedLinkIgnoresForgedHosts TestMailServerThatNeverGreets TestPathTricks TestGuardedAnswersAreNotShared \
  TestIdentityByConnectionAndTrailers TestRevocationIsImmediate TestNoSecretIsLogged TestFormFromAnotherSite TestAccountsThatWait TestAdminNamesOneAccount
attack:
	@mkdir -p $(dir $(ATTACK))
	@set -o pipefail; tests=$$({ sed -nE 's/^func (Test[A-Za-z0-9_]+)\(t .*/\1/p' $(ATTACKS) && printf '%s\n' $(ATTACKS_BUILT); } | grep -v '^TestMain$$' | grep -E '$(RUN)' | sort -u | paste -sd '|') && \
	REGISTRATION_ATTACK=long $(GO) test -count=1 -p 1 -timeout 60m -v -run "^($$tests)$$" ./... 2>&1 | \
	  grep -E '^(--- |FAIL|ok|panic:)|_test\.go:[0-9]+: ' | grep -v 'no tests to run' | tee $(ATTACK)

# What .golangci.yml asks for; CI installs the tool where it is missing. By hand, in
# some 2 minutes: go install $(LINTER)
LINTER = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
lint:
	@command -v golangci-lint >/dev/null || { echo "make lint needs golangci-lint: go install $(LINTER)"; exit 1; }
	golangci-lint run --tests=false

# The coverage that the last `make test` has left, without the packages that are for tests alone.
cover:
	$(GO) tool covdata textfmt -i=$(COVERDIR)/unit,$(COVERDIR)/built -o $(COVERDIR)/profile
	@grep -v -E '/(cmd|store/storetest|internal/(sitetest|inside|langtest|apicheck|jsonpaths|softkey|pgtest)|bench)/' $(COVERDIR)/profile > $(COVERDIR)/own
	@$(GO) tool cover -func=$(COVERDIR)/own | tail -1
	@$(GO) tool cover -func=$(COVERDIR)/own | awk '/^total/ { sub("%","",$$3); if ($$3+0 < $(COVER_MIN)) { print "under $(COVER_MIN) %"; exit 1 } }'

# Whether the time of an answer tells who has an account (Welch's t-test).
timing:
	REGISTRATION_TIMING=1 $(GO) test -count=1 -run '^TestTiming(FileMailer)?$$' -v ./internal/web

# Some 10 minutes, with BENCH=short some 4; rewrites the table in docs/performance.md.
bench:
	$(GO) run ./bench -write docs/performance.md

# The benchmarks beside the code; docs/performance.md has a recipe for benchstat.
gobench:
	$(GO) test -run '^$$' -bench . -benchmem . ./internal/... ./store/...

# Each fuzz target for FUZZTIME, six at a time. Only our own packages are
# instrumented: `go test -fuzz` would compile all of Caddy anew for it.
fuzz:
	@mkdir -p dist/fuzz/corpus
	@set -eo pipefail; for dir in $$(grep -l '^func Fuzz' --include='*_test.go' -r . | xargs -n1 dirname | sort -u); do \
	  bin=$(CURDIR)/dist/fuzz/$$(echo $$dir | tr './' '__').test; \
	  $(GO) test -c -gcflags=$$($(GO) list -m)/...=-d=libfuzzer -o $$bin $$dir; \
	  (cd $$dir && $$bin -test.list '^Fuzz') | grep '^Fuzz' | sed "s|^|$$dir $$bin |"; \
	done > dist/fuzz/targets
	@xargs -P 6 -L 1 ./.ci/fuzz $(FUZZTIME) $(CURDIR)/dist/fuzz/corpus < dist/fuzz/targets
