package smtpwire_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/internal/smtpwire"
)

// slowDotReader is DotReader as RFC 5321 §4.5.2 says it, over the whole input:
// lines end in CRLF and nothing else, a line of one dot ends the data, of other
// lines a dot at the beginning goes. Without an end of data, data is what of the
// last line is sure.
func slowDotReader(src string) (data string, n int, done bool) {
	var sb strings.Builder
	for rest := src; ; {
		line, after, found := strings.Cut(rest, "\r\n")
		if found && line == "." {
			return sb.String(), len(src) - len(after), true
		}
		text, dotted := strings.CutPrefix(line, ".")
		if !found {
			if dotted && text == "\r" {
				text = "" // the end of data or not: nobody knows yet
			}
			sb.WriteString(text)
			return sb.String(), len(src), false
		}
		sb.WriteString(text + "\r\n")
		rest = after
	}
}

// read gives src to two DotReaders in pieces of the given lengths, the rest as
// the last piece, and holds Append and Discard against each other.
func read(t testing.TB, src string, pieces ...int) (data string, n int, done bool) {
	var app, dis smtpwire.DotReader
	var out []byte
	for i := 0; ; i++ {
		piece := src[n:]
		if i < len(pieces) && pieces[i] < len(piece) {
			piece = piece[:pieces[i]]
		}
		var k int
		out, k = app.Append(out, []byte(piece))
		require.Equal(t, k, dis.Discard([]byte(piece)), "Append and Discard read the same")
		require.Equal(t, app, dis, "Append and Discard are in the same state")
		require.EqualValues(t, len(out), app.Size(), "Size is the size of the data")
		n += k
		if app.Done() || k < len(piece) {
			break
		}
		if i >= len(pieces) {
			break
		}
	}
	if app.Done() {
		k := dis.Discard([]byte("more"))
		require.Zero(t, k, "nothing is read after the end of data")
	}
	return string(out), n, app.Done()
}

// vectors are mail data as a client sent it. PEERS.md §8 has what servers made
// of them.
var vectors = []struct {
	name, src string
	data      string
	rest      string // what must not be read
	done      bool
	why       string
}{
	{"empty", ".\r\n", "", "", true, "the start of the data is the start of a line"},
	{"one line", "a\r\n.\r\n", "a\r\n", "", true, "the usual"},
	{"next command", "a\r\n.\r\nQUIT\r\n", "a\r\n", "QUIT\r\n", true, "RFC 2920: the next transaction may share a segment"},
	{"LF.LF", "a\n.\nMAIL", "a\n.\nMAIL", "", false, "SMTP smuggling: §4.1.1.4, not the end of data"},
	{"LF.CRLF", "a\n.\r\nMAIL", "a\n.\r\nMAIL", "", false, "SMTP smuggling, CVE-2023-51764"},
	{"CRLF.LF", "a\r\n.\nMAIL", "a\r\n\nMAIL", "", false, "SMTP smuggling; the dot begins a line, so it goes"},
	{"CR.CR", "a\r.\rMAIL", "a\r.\rMAIL", "", false, "SMTP smuggling"},
	{"CR.CRLF", "a\r.\r\nMAIL", "a\r.\r\nMAIL", "", false, "SMTP smuggling"},
	{"CRLF.CR", "a\r\n.\rMAIL", "a\r\n\rMAIL", "", false, "SMTP smuggling; go-smtp loses this CR"},
	{"CR CRLF.CRLF", "a\r\r\n.\r\nQUIT", "a\r\r\n", "QUIT", true, "a legal end of data that go-smtp 0.25.1 waits for in vain"},
	{"CRLF.CR CRLF", "a\r\n.\r\r\n.\r\n", "a\r\n\r\r\n", "", true, "dot CR CR LF is a line, the next dot ends"},
	{"CRLF.CR.CRLF", "a\r\n.\r.\r\n.\r\n", "a\r\n\r.\r\n", "", true, "dot CR dot is a line"},
	{"NUL", "\x00\r\n.\r\n", "\x00\r\n", "", true, "mail data is octets"},
	{"stuffed dot", "..\r\n.\r\n", ".\r\n", "", true, "§4.5.2"},
	{"two stuffed dots", "...\r\n..\r\n.\r\n", "..\r\n.\r\n", "", true, "PEERS §11: double dot-stuffing"},
	{"dot not stuffed", ".a\r\n.\r\n", "a\r\n", "", true, "a client that forgot: §4.5.2, the first dot goes whatever follows"},
	{"dot in a line", "a.\r\n.\r\n", "a.\r\n", "", true, "only a dot that begins a line counts"},
	{"empty lines", "\r\n\r\n.\r\n", "\r\n\r\n", "", true, "no text at all in a line"},
	{"many dots", "a\r\n.\r\n.\r\n", "a\r\n", ".\r\n", true, "the first end is the end"},
	{"unfinished", "a\r\n", "a\r\n", "", false, "more is to come"},
	{"unfinished dot", "a\r\n.", "a\r\n", "", false, "the dot is held back"},
	{"unfinished dot CR", "a\r\n.\r", "a\r\n", "", false, "so is its CR"},
	{"unfinished CR", "a\r", "a\r", "", false, "a CR in a line is data at once"},
}

func TestDotReader(t *testing.T) {
	for _, tt := range vectors {
		t.Run(tt.name, func(t *testing.T) {
			data, n, done := read(t, tt.src)
			assert.Equal(t, tt.data, data, tt.why)
			assert.Equal(t, tt.rest, tt.src[n:], tt.why)
			assert.Equal(t, tt.done, done, tt.why)
			sdata, sn, sdone := slowDotReader(tt.src)
			assert.Equal(t, []any{data, n, done}, []any{sdata, sn, sdone}, "the reference agrees")
			for i := range tt.src {
				for j := range len(tt.src) - i {
					d, k, dn := read(t, tt.src, i, j)
					require.Equal(t, []any{data, n, done}, []any{d, k, dn}, "split at %d and %d", i, i+j)
				}
			}
		})
	}
}

func TestDotReaderReset(t *testing.T) {
	var d smtpwire.DotReader
	assert.Equal(t, 6, d.Discard([]byte("a\r\n.\r\n")))
	assert.True(t, d.Done())
	d.Reset()
	assert.Equal(t, smtpwire.DotReader{}, d, "a new message begins at the start of a line")
}

// TestDotStuffingRoundTrip sends every string over a small alphabet: all the
// states and all ways between them.
func TestDotStuffingRoundTrip(t *testing.T) {
	const alphabet = "\r\n.a"
	const length = 6
	for n := range length + 1 {
		count := 1 << (2 * n)
		for k := range count {
			b := make([]byte, n)
			for i := range b {
				b[i] = alphabet[k>>(2*i)&3]
			}
			data := string(b)
			wire := string(smtpwire.AppendDotStuffed(nil, b))
			want := data
			if want != "" && !strings.HasSuffix(want, "\r\n") {
				want += "\r\n"
			}
			for split := range wire {
				got, n, done := read(t, wire, split)
				if got != want || n != len(wire) || !done {
					t.Fatalf("%q on the wire is %q; split at %d it is read as %q, %d octets, done %v", data, wire, split, got, n, done)
				}
			}
		}
	}
}

func TestAppendDotStuffed(t *testing.T) {
	for _, tt := range []struct{ name, data, want, why string }{
		{"empty", "", ".\r\n", "no line, so none to end"},
		{"line end missing", "a", "a\r\n.\r\n", "§4.1.1.4: a CRLF is added then"},
		{"line end there", "a\r\n", "a\r\n.\r\n", "§4.1.1.4: and only then, or the message grows"},
		{"first dot", ".a\r\n", "..a\r\n.\r\n", "§4.5.2"},
		{"a line of a dot", "a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n", "§4.5.2"},
		{"stuffed already", "..\r\n", "...\r\n.\r\n", "PEERS §3: stuffing is not idempotent; twice is a bug of the caller"},
		{"LF dot", "a\n.b\r\n", "a\n.b\r\n.\r\n", "not the start of a line; CheckData finds it"},
		{"CR at the end", "a\r", "a\r\r\n.\r\n", "not a line end; CheckData finds it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, "x"+tt.want, string(smtpwire.AppendDotStuffed([]byte("x"), []byte(tt.data))), tt.why)
		})
	}
}

func TestCheckData(t *testing.T) {
	for _, tt := range []struct{ name, data, want, why string }{
		{"fine", "a\r\nb\r\n", "", "CRLF only"},
		{"no line end", "a", "", "AppendDotStuffed adds it"},
		{"empty", "", "", "nothing wrong in it"},
		{"bare LF", "a\r\nb\nc", "line 2", "§2.3.8"},
		{"bare LF first", "\na", "line 1", "nothing before it"},
		{"bare CR", "a\rb", "line 1", "§2.3.8"},
		{"CR CRLF", "a\r\r\n", "line 1", "the first CR is bare"},
		{"CR at the end", "a\r\nb\r", "line 2", "nothing after it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := smtpwire.CheckData([]byte(tt.data))
			if tt.want == "" {
				assert.NoError(t, err, tt.why)
				return
			}
			require.ErrorIs(t, err, smtpwire.ErrBareLineEnd, tt.why)
			assert.Contains(t, err.Error(), tt.want, "the line is named")
		})
	}
}

func TestDataDoesNotAllocate(t *testing.T) {
	data := bytes.Repeat([]byte(".a line\r\n\r\n..\r\n"), 100)
	wire := smtpwire.AppendDotStuffed(nil, data)
	dst := make([]byte, 0, len(wire))
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		dst = smtpwire.AppendDotStuffed(dst[:0], data)
		var d smtpwire.DotReader
		if dst, _ = d.Append(dst[:0], wire); !d.Done() || len(dst) != len(data) {
			t.Fatal("not read to its end")
		}
		d.Reset()
		if d.Discard(wire) != len(wire) || d.Size() != int64(len(data)) {
			t.Fatal("not read to its end")
		}
		if smtpwire.CheckData(data) != nil {
			t.Fatal("data")
		}
	}))
}
