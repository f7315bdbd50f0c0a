"""Installs n8n from npm, unless `N8N_PROGRAM` names one. Its folder must also hold the Node that runs it."""

import on_demand

# n8n 2.40 wants Node 22 or 24, whatever runs on this machine. Later versions of n8n need a newer one.
NODE, N8N = "node@24.21.0", "n8n@2.40.5"


def installed():
    return on_demand.installed("N8N_PROGRAM", N8N, "node_modules/.bin/n8n", install, "with Node 24, 2.8 GB, about four minutes")


def install(folder):
    on_demand.npm(folder, "install", "--save-exact", NODE)
    # Scripts of 2,000 packages are not run, but for that of the database.
    on_demand.npm(folder, "install", "--save-exact", "--ignore-scripts", N8N)
    on_demand.npm(folder, "rebuild", "sqlite3")
