package session

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/annotation"
	"rookery/internal/mailstore/quota"
	"rookery/internal/transcript"
	"rookery/internal/vfs/memfs"
)

// shownIDs makes the ids of mailboxes fit for transcripts: the first that is told is
// shown as F1, the next one as F2.
type shownIDs []string

var inMailboxID = regexp.MustCompile(`\bF[0-9a-f]{32}\b`)

func (ids *shownIDs) show(p []byte) []byte {
	return inMailboxID.ReplaceAllFunc(p, func(id []byte) []byte {
		if !slices.Contains(*ids, string(id)) {
			*ids = append(*ids, string(id))
		}
		return fmt.Appendf(nil, "F%d", 1+slices.Index(*ids, string(id)))
	})
}

// openBoxes is openPeer with what a user's store has around it: limits and
// annotations.
//
//	given: limits 100k 10 5       octets, messages, mailboxes; 0 is none
//	given: metadata 2048 3        octets of a value, entries
//	given: ignored NAME           a mailbox that the quota leaves out
//	given: admin mailto:x         /shared/admin of the server
func openBoxes(t *testing.T, given []string) transcript.Peer {
	t.Helper()
	disk := memfs.New(memfs.Options{Now: memfs.NewClock(start).Now})
	limits := quota.Options{FS: disk}
	var notes annotation.Options
	var rest []string
	for _, line := range given {
		words := strings.Fields(line)
		number := func(i int) int {
			n, err := strconv.Atoi(words[i])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		switch words[0] {
		case "limits":
			limits.Limits = quota.Limits{Octets: uint64(number(1)), Messages: uint64(number(2)), Mailboxes: uint64(number(3))}
		case "metadata":
			notes.Limits = mailstore.AnnotationLimits{Value: int64(number(1)), Entries: number(2)}
		case "ignored":
			limits.Rule = func(name mailstore.Name) (r quota.Rule) {
				if name == words[1] {
					r.Class = quota.Ignored
				}
				return r
			}
		case "server": // ENTRY VALUE …: of the server, for all
			notes.Server = append(notes.Server, mailstore.Annotation{Entry: words[1], Value: []byte(strings.Join(words[2:], " "))})
		case "admin":
			notes.Server = []mailstore.Annotation{{Entry: annotation.SharedAdmin, Value: []byte(words[1])}}
		default:
			rest = append(rest, line)
		}
	}
	p := openPeer(t, rest).(*peer)
	notes.FS, notes.Note = disk, func(text string) { t.Error(text) }
	p.store = annotation.Wrap(quota.Wrap(p.store, limits), notes)
	return p
}

func boxesEverywhere(t *testing.T, pattern string) { everywhereWith(t, pattern, openBoxes) }

func TestQuota(t *testing.T)    { boxesEverywhere(t, "testdata/quota/*.txt") }
func TestMetadata(t *testing.T) { boxesEverywhere(t, "testdata/metadata/*.txt") }
func TestUses(t *testing.T)     { boxesEverywhere(t, "testdata/uses/*.txt") }
func TestStatus(t *testing.T)   { boxesEverywhere(t, "testdata/status/*.txt") }

// RFC 7889 §2: the limit that is the same for all mailboxes stands in the capability;
// without one, or with one that no number of the grammar can tell, the word is alone.
func TestAppendLimitWord(t *testing.T) {
	for limit, want := range map[int64]string{0: "APPENDLIMIT", 257890: "APPENDLIMIT=257890", 1<<32 - 1: "APPENDLIMIT=4294967295", 1 << 32: "APPENDLIMIT"} {
		p := openPeer(t, nil).(*peer)
		p.settings.MaxMessage = limit
		p.Send(1, []byte("a CAPABILITY\r\n"))
		words := strings.Fields(string(p.Take(1)))
		if !slices.Contains(words, want) || want != "APPENDLIMIT" && slices.Contains(words, "APPENDLIMIT") {
			t.Errorf("with a limit of %d: %q", limit, words)
		}
		p.Close()
	}
}
