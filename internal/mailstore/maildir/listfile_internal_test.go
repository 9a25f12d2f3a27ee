package maildir

import (
	"reflect"
	"testing"

	"rookery/internal/mailstore"
)

func sampleListing() *listing {
	st := fileStamp{1, 2, 3}
	return &listing{
		dirs: map[string]*listedDir{"": {stamp: st, kids: []string{".a", ".b"}}, "x": {stamp: st, kids: []string{}, box: true}},
		memos: map[mailstore.Name]*statusMemo{"a": {dir: "Maildir/.a", ctl: "control/.a", cur: st, new: fileStamp{4, 5, 6}, uids: fileStamp{7, 8, 9}, sizeKnown: true,
			status: mailstore.Status{Messages: 1, Recent: 2, Unseen: 3, Deleted: 4, UIDNext: 5, UIDValidity: 6, Size: 1 << 40, HighestModSeq: 1 << 50, GUID: mailstore.GUID{9}}}},
	}
}

func TestListingCodec(t *testing.T) {
	l := sampleListing()
	dirs, memos, ok := parseListing(l.encode(7), 7)
	if !ok || !reflect.DeepEqual(dirs, l.dirs) || !reflect.DeepEqual(memos, l.memos) {
		t.Errorf("%v, %v, %v", dirs, memos, ok)
	}
	if _, _, ok := parseListing(l.encode(7), 8); ok {
		t.Error("a file of another key was believed")
	}
	for i := range l.encode(7) {
		b := l.encode(7)
		b[i] ^= 1
		if _, _, ok := parseListing(b, 7); ok {
			t.Errorf("a file with octet %d changed was believed", i)
		}
	}
}

func FuzzListing(f *testing.F) {
	f.Add(sampleListing().encode(7))
	f.Add((&listing{}).encode(7))
	f.Fuzz(func(t *testing.T, b []byte) {
		// As it stands, and with a sum that fits, so that what lies behind it is reached.
		parseListing(b, 7)
		if dirs, memos, ok := parseListing(sumListing(b), 7); ok {
			l := &listing{dirs: dirs, memos: memos}
			if d, m, ok := parseListing(l.encode(7), 7); !ok || !reflect.DeepEqual(d, dirs) || !reflect.DeepEqual(m, memos) {
				t.Fatal("what was read is written another way")
			}
		}
	})
}
