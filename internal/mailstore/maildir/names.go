package maildir

import (
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"rookery/internal/mailstore"
)

// nameMaker makes base names that nobody made before:
//
//	<seconds>.M<microseconds>R<16 random hex digits>Q<count>.<host>
//
// A process id would say nothing: every worker is process 1 of its own
// namespace. The random digits are drawn once per Store.
type nameMaker struct {
	mark  string
	host  string
	count *atomic.Uint64
}

func newNameMaker(host string, random uint64) nameMaker {
	// A host's name may hold what separates the parts of a file name.
	host = strings.NewReplacer("/", `\057`, ":", `\072`, ",", `\054`, " ", "_", "\n", "_").Replace(host)
	return nameMaker{mark: fmt.Sprintf("R%016x", random), host: host[:min(len(host), 64)], count: new(atomic.Uint64)}
}

func (n nameMaker) next(now time.Time) string {
	return fmt.Sprintf("%d.M%d%sQ%d.%s", now.Unix(), now.Nanosecond()/1000, n.mark, n.count.Add(1), n.host)
}

// A base name of ours says what the file's bytes must be, ",C=<CRC-32C>": after
// a crash, a file that has no UID yet and does not hold them was never answered.
const sumField = ",C="

func withSum(base string, sum uint32) string { return base + fmt.Sprintf("%s%08x", sumField, sum) }

// nameSum gives the checksum of a name that we made.
func nameSum(base string) (sum uint32, ok bool) {
	first, _, _ := strings.Cut(base, ",")
	i := strings.Index(first, "R")
	if i < 0 || len(first) < i+17 || first[i+17:] == "" || first[i+17] != 'Q' {
		return 0, false
	}
	_, text, found := strings.Cut(base, sumField)
	if text, _, _ = strings.Cut(text, ","); !found || len(text) != 8 {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 16, 32)
	return uint32(n), err == nil
}

// guidOf reads a GUID as it stands in a control file: 32 hex digits are the
// GUID itself; any other text (Dovecot's message GUIDs are the base names)
// stands for a hash of it.
func guidOf(text string) (g mailstore.GUID) {
	if len(text) == 32 {
		if _, err := hex.Decode(g[:], []byte(text)); err == nil {
			return g
		}
	}
	h := fnv.New128a()
	h.Write([]byte(text))
	h.Sum(g[:0])
	return g
}

func guidText(g mailstore.GUID) string { return hex.EncodeToString(g[:]) }
