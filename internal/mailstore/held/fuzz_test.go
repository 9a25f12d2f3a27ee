package held

import (
	"testing"

	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// FuzzParse reads a control file of any bytes, and what it found once more.
func FuzzParse(f *testing.F) {
	g := mailstore.GUID{1, 15: 255}
	f.Add([]byte(mailboxLine(g, 7, "a/b ü") + moveLine(g, move{7, numset.Span(1, 3), numset.Span(4, 6)})))
	f.Add([]byte("M x\nU \n\nM 0102 1 a\n"))
	f.Add([]byte("U 00000000000000000000000000000000 1 1:4294967295 1:4294967295\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		again := ""
		first := parse(text)
		for guid, o := range first {
			if o.name != "" {
				if err := imapname.Name(o.name).Check(); err != nil {
					t.Errorf("the name %q: %v", o.name, err)
				}
				again += mailboxLine(guid, o.validity, o.name)
			}
			for _, m := range o.moves {
				if m.from.Len() != m.to.Len() || m.from.Len() > stepSize {
					t.Errorf("%d UIDs became %d", m.from.Len(), m.to.Len())
				}
				again += moveLine(guid, m)
			}
			were(o, []mailstore.UID{1, 5, 9})
		}
		second := parse([]byte(again))
		for guid, o := range first {
			p := second[guid]
			if p == nil || p.name != o.name || len(p.moves) != len(o.moves) {
				t.Errorf("%+v became %+v", o, p)
			}
		}
	})
}
