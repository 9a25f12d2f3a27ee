package session

import "testing"

// What the RFCs demand beside the extensions' own transcripts; docs/IMAP-sections.md says
// which section is shown where.
func TestRFC(t *testing.T) { boxesEverywhere(t, "testdata/rfc/*.txt") }

// Demand by demand: what no other transcript shows.
func TestDemands(t *testing.T) { boxesEverywhere(t, "testdata/demands/*.txt") }
