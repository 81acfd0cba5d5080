# make without a target prints what there is.

PREFIX      ?= /usr/local
SYSCONFDIR  ?= /etc
DESTDIR     ?=
bindir       = $(DESTDIR)$(PREFIX)/bin
datadir      = $(DESTDIR)$(PREFIX)/share
confdir      = $(DESTDIR)$(SYSCONFDIR)/cgrouparchd
unitdir      = $(DESTDIR)$(PREFIX)/lib/systemd/system

VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT      ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS      = -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)

# Pinned: another version has other opinions. It is a tool, not a dependency, so it is not in go.mod.
LINT_VERSION = v2.15.0
LINT         = bin/golangci-lint-$(LINT_VERSION)

.DEFAULT_GOAL := help
.PHONY: help build test lint bench bench-peers bench-go demo man deb test-deb install completions clean test-vm test-vm-full vm-kernel scale

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The binary is static: it runs on any Linux, whatever its C library.
build: ## bin/cgrouparchd
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/ ./cmd/cgrouparchd

test: ## all the tests (as root on Debian it installs the servers that they need)
	test/run.sh

# Not part of test: it needs QEMU and downloads kernels (as root on Debian it installs what it lacks). What cannot be fetched skips,
# or fails with CGROUPARCHD_TEST_ALL=1. Every step has a limit: a mirror that hangs must not hold up everybody.
VM_TEST = nice env CGROUPARCHD_TEST_VM=$(1) go test -count=1 -v -timeout $(2) ./test/vm

test-vm: ## the tests in virtual machines: cgroup v1 co-mounted, v2, systemd
	-timeout 300 test/vm/fetch.sh
	-timeout 300 test/vm/image.sh systemd-252.ext4
	$(call VM_TEST,1,12m)

test-vm-full: ## the same, and machines that take longer: newer systemd, hybrid, servers
	-timeout 300 test/vm/fetch.sh
	-timeout 900 test/vm/image.sh systemd-252.ext4 systemd-257.ext4 servers.ext4
	$(call VM_TEST,full,60m)

vm-kernel: ## fetch the kernels for test-vm into the cache
	test/vm/fetch.sh

# `make test` does it with 50 of them.
scale: ## 1,000 daemons, as far as ZooKeeper sees them, on three servers of which one dies
	CGROUPARCHD_TEST_DAEMONS=1000 go test -count=1 -v -timeout 10m ./test/scale

lint: $(LINT) ## go vet and golangci-lint, pinned
	go vet ./...
	$(LINT) run ./...

# An installed golangci-lint of the right version serves as well: building it takes minutes.
$(LINT):
	@mkdir -p bin
	@found=$$(command -v golangci-lint || echo "$$(go env GOPATH)/bin/golangci-lint"); \
	if "$$found" version 2>/dev/null | grep -q ' $(LINT_VERSION:v%=%) '; then ln -sf "$$found" $@; else \
	echo "building golangci-lint $(LINT_VERSION)"; \
	GOBIN=$(CURDIR)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION) && \
	mv bin/golangci-lint $@; fi

# Both sides run at this priority, so that other work on the machine is less in the way.
BENCH_NICE ?= nice -n -10

# As root, on a host with cgroup v1, with ZooKeeper, Redis and gcc installed. A row is chosen by its name: make bench ROWS='sampler|rss';
# LONG=1 takes an hour, with ten minutes beside CPU hogs.
bench: ## what everything costs, as ratios to C programs and bare clients measured in the same run
	go test -c -o bin/bench.test ./test/bench
	cd test/bench && $(BENCH_NICE) $(CURDIR)/bin/bench.test -test.timeout 2h -test.run 'TestBench$$' -table -rows '$(ROWS)' $(if $(LONG),-long)

bench-peers: ## what other programs and libraries pay for the same
	cd test/bench/peers && go test -c -o $(CURDIR)/bin/peers.test .
	cd test/bench/peers && $(BENCH_NICE) $(CURDIR)/bin/peers.test -test.timeout 1h -test.run 'TestPeers$$' -table

bench-go: ## Go benchmarks of every package
	go test -run '^$$' -bench . -benchmem ./...

demo: ## the daemon at work on sample processes (as root), until Ctrl-C
	test/demo.sh

# For `sudo make install`: root's PATH need not have Go when there is a binary.
bin/cgrouparchd:
	$(MAKE) build

# The libraries that write them are only in a binary with the tag man, not in the installed one.
man: ## manual pages, in bin/man
	rm -rf bin/man && mkdir -p bin/man
	go run -tags man ./cmd/cgrouparchd man bin/man

# As for the binary: for `sudo make install` without Go they have to be there, or are left out.
bin/man:
	@if command -v go >/dev/null; then $(MAKE) man; else echo "install: no manual pages, for go is not in PATH: run make man first"; fi

deb: build man ## the Debian package, in bin
	deploy/deb/build.sh '$(VERSION)'

test-deb: ## install, upgrade and purge the package in a clean Debian root (as root; makes the root with mmdebstrap)
	CGROUPARCHD_TEST_DEB=1 go test -count=1 -v -timeout 20m ./test/deb

completions: build ## shell completions, in bin/completions
	mkdir -p bin/completions
	bin/cgrouparchd completion bash >bin/completions/cgrouparchd.bash
	bin/cgrouparchd completion zsh >bin/completions/_cgrouparchd
	bin/cgrouparchd completion fish >bin/completions/cgrouparchd.fish

# The configuration may hold secrets and belongs to the operator: mode 0640, and one that is there stays.
install: bin/cgrouparchd bin/man ## into DESTDIR: binary, completions, manual pages, reference configuration, systemd units
	mkdir -p bin/completions
	bin/cgrouparchd completion bash >bin/completions/cgrouparchd.bash
	bin/cgrouparchd completion zsh >bin/completions/_cgrouparchd
	bin/cgrouparchd completion fish >bin/completions/cgrouparchd.fish
	install -D -m 0755 bin/cgrouparchd $(bindir)/cgrouparchd
	install -D -m 0644 bin/completions/cgrouparchd.bash $(datadir)/bash-completion/completions/cgrouparchd
	install -D -m 0644 bin/completions/_cgrouparchd $(datadir)/zsh/site-functions/_cgrouparchd
	install -D -m 0644 bin/completions/cgrouparchd.fish $(datadir)/fish/vendor_completions.d/cgrouparchd.fish
	for page in bin/man/*; do test ! -e "$$page" || install -D -m 0644 "$$page" "$(datadir)/man/man$${page##*.}/$${page##*/}"; done
	install -D -m 0644 deploy/cgrouparchd.toml $(datadir)/doc/cgrouparchd/cgrouparchd.toml
	test -e $(confdir)/cgrouparchd.toml || install -D -m 0640 deploy/cgrouparchd.toml $(confdir)/cgrouparchd.toml
	for unit in $(wildcard deploy/systemd/*.service); do install -D -m 0644 "$$unit" "$(unitdir)/$${unit##*/}"; done
	install -D -m 0755 deploy/systemd/cgrouparchd-generator $(DESTDIR)$(PREFIX)/lib/systemd/system-generators/cgrouparchd-generator

clean: ## remove bin
	rm -rf bin
