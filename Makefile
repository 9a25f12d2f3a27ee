# Rookery. `make run` for a working server on loopback, `make test` for every test.

GO       ?= go
PREFIX   ?= /usr/local
DESTDIR  ?=
PROGRAMS := rookery rookery-login rookery-authd rookery-logd rookery-imapworker rookery-pop3worker rookery-mailtool rookery-dotlock rookeryctl
# One build, one id: programs of two builds refuse to talk to each other.
BUILDID  := $(shell (git rev-parse --short=12 HEAD 2>/dev/null || echo release; git status --porcelain 2>/dev/null; date +%s%N) | sha256sum | cut -c1-16)
LDFLAGS  := -s -w -X rookery/internal/buildid.stamp=$(BUILDID)

.PHONY: build run test test-short check fuzz soak bench peers generate install clean help

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 14

build: ## all programs into bin/
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

run: build ## build, then a server on loopback with demo users
	bin/rookeryctl demo

test: ## install what the tests need, then run everything
	@scripts/test all

test-short: ## the inner loop: no root, under a minute
	@scripts/test short

check: ## gofmt, vet, staticcheck, generated files
	@scripts/test check

fuzz: ## FUZZTIME (default 5m) for each fuzz target
	@scripts/test fuzz

soak: ## long seeds and histories
	@scripts/test soak

bench: build ## beside Debian's Dovecot; ROW=name for one row
	@scripts/bench

peers: ## our transcripts against Debian's Dovecot and Cyrus: docs/PEERS.md
	@scripts/peers

generate: ## conf.d, docs/SETTINGS.md and manual pages from the declarations
	$(GO) generate ./...

install: build ## into DESTDIR and PREFIX
	@scripts/install "$(DESTDIR)" "$(PREFIX)"

clean: ## what a build leaves
	rm -rf bin
