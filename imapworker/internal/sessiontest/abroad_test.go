package sessiontest_test

import (
	"testing"

	"rookery/imapworker/internal/fetch"
	"rookery/imapworker/internal/search"
	"rookery/imapworker/internal/session"
	"rookery/imapworker/internal/sessiontest"
	"rookery/imapworker/internal/sorting"
	"rookery/internal/message"
)

// What is read of another user's mailbox is answered as what is read of one's own: but for
// what is recent, which stays so until its owner has looked (global, seen, other_keys), what
// is known of a message that is gone (gone), and zones that no format keeps (items, dates,
// savedate).
func TestAbroad(t *testing.T) {
	cfg := search.Config{Limits: message.DefaultLimits()}
	for _, c := range []struct {
		of   string
		jobs session.Jobs
		but  []string
	}{
		{"fetch", session.Jobs{Fetch: fetch.Parser(fetch.Config{Limits: message.DefaultLimits()})}, []string{"items", "global", "seen", "keywords"}},
		{"search", session.Jobs{Search: search.Parser(cfg)}, []string{"dates", "savedate", "other_keys"}},
		{"sorting", session.Jobs{Sort: sorting.Sort(cfg), Thread: sorting.Thread(cfg)}, []string{"modseq", "gone"}},
	} {
		t.Run(c.of, func(t *testing.T) {
			t.Chdir("../" + c.of)
			sessiontest.Abroad(t, "testdata/*.txt", func() session.Jobs { return c.jobs }, c.but...)
		})
	}
}
