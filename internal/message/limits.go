package message

// Limits bounds what a message may cost. A field that is zero or negative means
// its default. What lies beyond a limit stays part of the message's bytes; it
// is only not looked into.
type Limits struct {
	Parts          int   // parts of a message, nested ones included (default 10,000)
	Depth          int   // nesting of parts, the root counts (default 100)
	HeaderBytes    int64 // bytes of one header whose fields are looked at (default 10 MiB)
	AllHeaderBytes int64 // the same over all headers of a message (default 50 MiB)
	FieldBytes     int   // bytes of one field's value that are kept (default 1 MiB)
	KeepBytes      int   // bytes of all strings that a tree keeps (default 8 MiB)
	Params         int   // parameters of one field (default 250)
	Addresses      int   // addresses in one ENVELOPE or BODYSTRUCTURE (default 20,000)
}

// DefaultLimits gives the defaults of every field.
func DefaultLimits() Limits { return Limits{}.filled() }

func (l Limits) filled() Limits {
	orInt(&l.Parts, 10_000)
	orInt(&l.Depth, 100)
	orInt(&l.FieldBytes, 1<<20)
	orInt(&l.KeepBytes, 8<<20)
	orInt(&l.Params, 250)
	orInt(&l.Addresses, 20_000)
	if l.HeaderBytes <= 0 {
		l.HeaderBytes = 10 << 20
	}
	if l.AllHeaderBytes <= 0 {
		l.AllHeaderBytes = 50 << 20
	}
	return l
}

func orInt(p *int, def int) {
	if *p <= 0 {
		*p = def
	}
}
