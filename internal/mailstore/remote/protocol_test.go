package remote

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/ipctest"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

func samples() []ipc.Message {
	return []ipc.Message{&Part{ID: 1, Data: []byte("x")}, &Call{ID: 2, Op: 3, Data: []byte("y")}, &More{ID: 4},
		&Answer{ID: 5, More: true, Failed: true, Kind: errkind.Limit, Data: []byte("z")}, &Changed{Box: 6}, &Heard{Box: 7}, &Ping{}, &Pong{}, &Break{ID: 8}}
}

func TestRoundTrip(t *testing.T) { ipctest.RoundTrip(t, Protocol, samples()...) }
func FuzzDecode(f *testing.F)    { ipctest.Fuzz(f, Protocol, samples()...) }

// An answer of no error has no kind.
func TestKindWithoutError(t *testing.T) {
	packet, err := Protocol.Encode(&Answer{ID: 1, Kind: errkind.Limit})
	must(t, err)
	if _, _, err := Protocol.Decode(packet, ipc.FromServer); err == nil {
		t.Error("an answer with a kind and no error was accepted")
	}
}

// argumentSamples has every shape of arguments and answers, with every field set.
func argumentSamples() []fields {
	mod := mailstore.ModSeq(9)
	set := numset.Of(1, 2, 3, 7, 1<<32-1)
	zoned := time.Date(1996, 7, 17, 2, 44, 25, 7, time.FixedZone("", -7*3600))
	return []fields{&none{}, &named{"a"}, &handle{3}, &folders{[]mailstore.Folder{{Name: "a", Attrs: 5}, {Name: "b", Attrs: 1 << 12}}},
		&names{[]mailstore.Name{"a", "b"}}, &subscribing{"a", true}, &creating{"a", mailstore.UseJunk}, &renaming{"a", "b"}, &asking{"a", true},
		&status{mailstore.Status{Messages: 1, Recent: 2, Unseen: 3, Deleted: 4, UIDNext: 5, UIDValidity: 6, Size: 7, HighestModSeq: 8, GUID: mailstore.GUID{9}}},
		&quota{mailstore.Quota{StorageUsed: 1, StorageLimit: 2, MessagesUsed: 3, MessagesLimit: 4, MailboxesUsed: 5, MailboxesLimit: 6}, true},
		&rights{acl.All}, &granting{"a", acl.ID{Kind: acl.User, Name: "bob", Negative: true}, acl.Change{Op: '+', Rights: acl.Read}},
		&grantable{acl.Lookup, acl.Read}, &aclText{[]byte("owner lr\n")},
		&info{mailstore.Info{Name: "a", UIDValidity: 1, GUID: mailstore.GUID{2}, PermanentFlags: mailstore.Seen, NewKeywords: true, ReadOnly: true, OwnOnly: true}},
		&picturing{1, 2, true, true},
		&picture{No: 1, Base: 2, Changes: 3, Len: 4, UIDNext: 5, High: 6, Tells: true, Info: info{mailstore.Info{Name: "a", UIDValidity: 1}}, Words: []string{"k"}, Steps: []byte("s"), More: true},
		&furtherSteps{[]byte("s"), true}, &uidSet{set}, &claiming{1, true}, &since{1, 2}, &history{set, true},
		&storing{1, mailstore.FlagChange{UIDs: set, Op: mailstore.RemoveFlags, Flags: mailstore.Draft, Keywords: []string{"k"}, UnchangedSince: &mod}},
		&stored{mailstore.StoreResult{Changed: set, Modified: set}}, &transferring{1, set, "b"},
		&transferred{mailstore.CopyResult{UIDValidity: 1, From: []mailstore.UID{1, 9}, To: []mailstore.UID{4, 5}}},
		&factWants{mailstore.FactsWant{Size: true, InternalDate: true, SaveDate: true, GUID: true}},
		&factsOf{1, 2, factWants{mailstore.FactsWant{Size: true}}, 3, true},
		&factList{[]facts{{UID: 1, Have: factWants{mailstore.FactsWant{Size: true, InternalDate: true, SaveDate: true, GUID: true}}, Size: 5,
			InternalDate: zoned, SaveDate: time.Unix(5, 6).UTC(), GUID: mailstore.GUID{7}}, {UID: 2}}},
		&cachedOf{1, 2, "f", 3}, &cachedList{[]cached{{1, true, []byte("v")}, {2, false, nil}}}, &fieldNames{[]string{"f"}}, &opening{1, 2, 3},
		&messageStart{1, 4, []byte("ab"), []whole{{1, []byte("x")}, {2, []byte("y")}}}, &readingAt{1, 2, 3}, &chunk{[]byte("c")},
		&adding{1, mailstore.AppendMeta{Flags: mailstore.Seen, Keywords: []string{"k"}, InternalDate: zoned, SaveDate: time.Unix(9, 0).UTC(), GUID: mailstore.GUID{1}, UID: 5}, -1},
		&writing{1, []byte("w")}, &appended{mailstore.AppendResult{UIDValidity: 1, UIDs: []mailstore.UID{2, 3}}},
		&noted{mailstore.Noted{GUID: mailstore.GUID{1}, Limits: mailstore.AnnotationLimits{Value: 2, Entries: 3},
			Entries: []mailstore.Annotation{{Entry: "/shared/a", Value: []byte{}}, {Entry: "/shared/B", Value: []byte("v")}}}},
		&noting{"a", []mailstore.Annotation{{Entry: "/shared/b", Value: []byte("v")}, {Entry: "/shared/a"}}}, &number{4},
		&notesChanged{[]mailstore.Annotated{{Mailbox: "a", Entry: "/shared/a", Number: 4}, {Mailbox: "a", Entry: "/shared/b", Number: 3}, {Mailbox: "a/b", Entry: "/shared/a", Number: 4}}, 4},
		&guids{[]mailstore.GUID{{1}, {2}}}}
}

// What is written comes back, and nothing that is cut or longer is taken.
func TestArguments(t *testing.T) {
	for _, f := range argumentSamples() {
		b, err := encode(f)
		must(t, err)
		back := reflect.New(reflect.TypeOf(f).Elem()).Interface().(fields)
		if err := decode(b, back); err != nil {
			t.Errorf("%T: %v", f, err)
			continue
		}
		again, err := encode(back)
		must(t, err)
		if string(again) != string(b) {
			t.Errorf("%T came back as %+v, want %+v", f, back, f)
		}
		for n := range b {
			if decode(b[:n], reflect.New(reflect.TypeOf(f).Elem()).Interface().(fields)) == nil {
				t.Errorf("%T cut to %d of %d bytes was taken", f, n, len(b))
			}
		}
		if decode(append(b, 0), reflect.New(reflect.TypeOf(f).Elem()).Interface().(fields)) == nil {
			t.Errorf("%T with a byte more was taken", f)
		}
	}
}

// What cannot be is refused, each for its own reason.
func TestRefusedArguments(t *testing.T) {
	long, guid := strings.Repeat("x", 10), strings.Repeat("g", 16)
	for _, c := range []struct {
		to   fields
		text string
		want string
	}{
		{&uidSet{}, "\x01\x00\x00", "not in order"},                                          // UID 0
		{&uidSet{}, "\x02\x01\x00\x01\x00", "not in order"},                                  // ranges that touch
		{&uidSet{}, "\x01\xff\xff\xff\xff\x0f\x01", "not in order"},                          // beyond the last UID
		{&uidSet{}, "\x7f\x01\x00", "a list has 127 items"},                                  // fewer than announced
		{&appended{}, "\x01\x02\x01\x00", "not in order"},                                    // a UID twice
		{&transferred{}, "\x01\x01\x01\x00", "1 messages became 0"},                          //
		{&rights{}, "\xff\x7f", "rights"},                                                    //
		{&subscribing{}, "\x01a\x02", "a boolean is 2"},                                      //
		{&handle{}, "\xff\xff\xff\xff\x1f", "too large"},                                     //
		{&named{}, "\xff\xff\x7f" + long, "its limit is 4096"},                               //
		{&granting{}, "\x01a\x09\x00\x00\x00\x00", "identifier of kind 9"},                   //
		{&granting{}, "\x01a\x02\x00\x00\x00\x00", "identifier of kind 2"},                   // a group without a name
		{&granting{}, "\x01a\x00\x00\x00\x07\x00", "a change of rights"},                     //
		{&factList{}, "\x02\x05\x00\x00\x00\x00\x05\x00\x00\x00\x00", "after"},               //
		{&messageStart{}, "\x00\x05\x02ab\x00", "began with 2"},                              // cut, and not open
		{&messageStart{}, "\x01\x02\x02ab\x00", "began with 2"},                              // whole, and open
		{&messageStart{}, "\x01\x01\x02ab\x00", "began with 2"},                              // more than it has
		{&storing{}, "\x01\x00\x07\x00\x00\x00", "a change of flags"},                        //
		{&storing{}, "\x01\x00\x00\x80\x01\x00\x00", "flags"},                                //
		{&noted{}, guid + "\x01\x02\x01\x09/shared/a\x00", "is not there"},                   // no value
		{&noted{}, guid + "\x01\x02\x01\x0a/private/a\x01\x00", "no shared annotation"},      //
		{&noted{}, guid + "\x01\x02\x01\x09/shared/*\x01\x00", "no shared annotation"},       //
		{&noted{}, guid + "\x01\x02\x02\x09/shared/a\x01\x00\x09/shared/A\x01\x00", "after"}, // twice
		{&notesChanged{}, "\x01\x01\x01a\x09/shared/a\x02", "the change 2"},                  // beyond the last
		{&notesChanged{}, "\x01\x01\x00\x09/shared/a\x01", "the change 1"},                   // of no mailbox
		{&notesChanged{}, "\x01\x01\x01a\x0a/private/a\x01", "no shared annotation"},         //
		{&guids{}, "\x02" + guid, "a field of 16 bytes"},                                     // cut
		{&since{}, "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "too large"},
	} {
		err := decode([]byte(c.text), c.to)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%T from %q: %v, want %q", c.to, c.text, err, c.want)
		}
	}
}

// A time keeps its zone; one of this machine's is this machine's.
func TestTimes(t *testing.T) {
	for _, in := range []time.Time{{}, time.Unix(1_700_000_000, 5), time.Unix(1_700_000_000, 0).UTC(), time.Date(1800, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))} {
		b, err := encode(&facts{Have: factWants{mailstore.FactsWant{InternalDate: true}}, InternalDate: in})
		must(t, err)
		var back facts
		must(t, decode(b, &back))
		_, want := in.Zone()
		if _, got := back.InternalDate.Zone(); got != want || !back.InternalDate.Equal(in) {
			t.Errorf("%v came back as %v", in, back.InternalDate)
		}
	}
	here := time.Unix(1_700_000_000, 5)
	b, _ := encode(&facts{Have: factWants{mailstore.FactsWant{InternalDate: true}}, InternalDate: here})
	var back facts
	must(t, decode(b, &back))
	if back.InternalDate != here {
		t.Errorf("%#v came back as %#v", here, back.InternalDate)
	}
}
