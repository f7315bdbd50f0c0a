# Everything a newcomer, a developer and CI need; each target is a script that can be read.
.PHONY: help run demo test test-host test-agents test-n8n test-openwebui hostile check audit release release-pgo dist bench fixture million screenshots

help: ## list these targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

# Recipes are one simple command, which make runs without a shell: after a Ctrl-C it waits for the script to stop.
export PORT QUICK PGO

run: ## set up and start the gateway on port 7000 (PORT=7001 for another), with a real Ollama and model
	@scripts/run.sh

demo: ## walk the whole path once on a fresh data folder: accounts, chat, stream, limit, export
	@scripts/demo.sh

test: ## install what the tests need and run them all
	@scripts/test.sh

test-host: ## install, upgrade, break and remove it on a fresh Debian with systemd, in a container; needs root, 4 min
	@scripts/test_host.sh

test-agents: ## let a real Claude Code and a real Codex edit a file through the gateway; installs both, 700 MB
	@tests/agents/run.sh

test-n8n: ## let a real n8n run workflows against the gateway; installs n8n and Node 24, 2.8 GB, once
	@scripts/test_tool.sh n8n

test-openwebui: ## let people of a real Open WebUI chat through the gateway; installs Open WebUI, 7 GB, once
	@scripts/test_tool.sh openwebui

hostile: ## send 10,000 hostile JSON schemas through a gateway to a real Ollama of its own
	@tests/hostile/run.sh

release: ## build target/release/lan-gateway, some minutes
	@cargo build --release --locked --bin lan-gateway

release-pgo: ## build target/release-pgo/lan-gateway with profile-guided optimisation, about 15 min
	@scripts/release_pgo.sh

dist: ## make what is released, in target/dist: a tarball with a static binary, a Debian package, checksums
	@scripts/dist.sh

bench: ## benchmark the release build against nginx, about 15 min (QUICK=1: 2 min; PGO=1: the build of release-pgo)
	@scripts/bench.sh

fixture: ## write a record of a million rows into target/fixture, once
	@scripts/fixture.sh

million: ## measure search, usage, pages, export, deletion and start on that record, in ten minutes
	@scripts/million.sh

screenshots: ## take pictures of the main pages into docs/screens, two minutes
	@scripts/screenshots.sh

check: ## formatting, lints, docs and spelling; under a minute (before each commit: git config core.hooksPath .githooks)
	@scripts/check.sh

audit: ## licences and sources of the dependencies, unused ones, the oldest compiler; installs its tools
	@scripts/audit.sh
