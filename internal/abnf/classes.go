package abnf

// Core rules, RFC 5234 §B.1, as RFC 3501 §9 uses them.
var (
	// ALPHA = %x41-5A / %x61-7A
	Alpha = Range('A', 'Z').Plus(Range('a', 'z'))
	// DIGIT = %x30-39
	Digit = Range('0', '9')
	// digit-nz = %x31-39                                      RFC 3501 §9
	DigitNZ = Range('1', '9')
	// HEXDIG = DIGIT / "A" / "B" / "C" / "D" / "E" / "F"; the strings are case-insensitive
	HexDigit = Digit.Plus(Range('A', 'F')).Plus(Range('a', 'f'))
	// CHAR = %x01-7F
	Char = Range(0x01, 0x7F)
	// CTL = %x00-1F / %x7F
	Ctl = Range(0x00, 0x1F).Plus(Range(0x7F, 0x7F))
	// CHAR8 = %x01-ff ; any OCTET except NUL, %x00             RFC 3501 §9
	Char8 = Range(0x01, 0xFF)
	// VCHAR = %x21-7E
	VChar = Range(0x21, 0x7E)
	// WSP = SP / HTAB
	WSP = Bytes(" \t")
)

// IMAP, RFC 3501 §9. RFC 9051 §9 has the same rules but for those named.
var (
	// list-wildcards = "%" / "*"
	ListWildcards = Bytes("%*")
	// quoted-specials = DQUOTE / "\"
	QuotedSpecials = Bytes(`"\`)
	// resp-specials = "]"
	RespSpecials = Bytes("]")
	// atom-specials = "(" / ")" / "{" / SP / CTL / list-wildcards / quoted-specials / resp-specials
	AtomSpecials = Bytes("(){ ").Plus(Ctl).Plus(ListWildcards).Plus(QuotedSpecials).Plus(RespSpecials)
	// ATOM-CHAR = <any CHAR except atom-specials>
	AtomChar = Char.Minus(AtomSpecials)
	// ASTRING-CHAR = ATOM-CHAR / resp-specials
	AstringChar = AtomChar.Plus(RespSpecials)
	// tag = 1*<any ASTRING-CHAR except "+">
	TagChar = AstringChar.Minus(Bytes("+"))
	// list-char = ATOM-CHAR / list-wildcards / resp-specials
	ListChar = AtomChar.Plus(ListWildcards).Plus(RespSpecials)
	// TEXT-CHAR = <any CHAR except CR and LF>
	TextChar = Char.Minus(Bytes("\r\n"))
	// QUOTED-CHAR = <any TEXT-CHAR except quoted-specials> / "\" quoted-specials
	// This is its first half: what may stand in a quoted string unescaped.
	QuotedChar = TextChar.Minus(QuotedSpecials)
	// base64-char = ALPHA / DIGIT / "+" / "/"
	Base64Char = Alpha.Plus(Digit).Plus(Bytes("+/"))
	// resp-text-code = … atom [SP 1*<any TEXT-CHAR except "]">]
	CodeChar = TextChar.Minus(RespSpecials)
	// sequence-set's bytes: seq-number, ":", ",", "*" and "$"
	SetChar = Digit.Plus(Bytes(":,*$"))
	// modified base64 of mailbox names: base64-char with "," in place of "/"  RFC 3501 §5.1.3
	MailboxBase64Char = Alpha.Plus(Digit).Plus(Bytes("+,"))
	// printable US-ASCII of mailbox names: %x20-25 / %x27-7e    RFC 3501 §5.1.3
	MailboxDirectChar = Range(0x20, 0x7E).Minus(Bytes("&"))
)

// Mail headers, RFC 5322.
var (
	// ftext = %d33-57 / %d59-126 ; printable US-ASCII without ":"   RFC 5322 §3.6.8
	FieldName = Range(33, 57).Plus(Range(59, 126))
	// atext, RFC 5322 §3.2.3
	AText = Alpha.Plus(Digit).Plus(Bytes("!#$%&'*+-/=?^_`{|}~"))
	// specials, RFC 5322 §3.2.3
	Specials = Bytes("()<>[]:;@\\,.\"")
	// token = 1*<any (US-ASCII) CHAR except SPACE, CTLs, or tspecials>  RFC 2045 §5.1
	MIMEToken = Range(0x21, 0x7E).Minus(Bytes(`()<>@,;:\"/[]?=`))
)

// POP3, RFC 1939 §3: keywords and arguments are of printable ASCII; §7: a
// unique-id is of %x21 to %x7E.
var (
	POP3Char  = Range(0x20, 0x7E)
	UIDLChar  = VChar
	POP3Space = Bytes(" ")
)
