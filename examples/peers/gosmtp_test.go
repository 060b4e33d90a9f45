package peers_test

import (
	"io"
	"sync/atomic"

	"github.com/emersion/go-smtp"
)

// discard is a go-smtp backend that counts messages.
type discard struct{ messages atomic.Int64 }

func (d *discard) NewSession(*smtp.Conn) (smtp.Session, error) { return discardSession{d}, nil }

type discardSession struct{ *discard }

func (discardSession) Mail(string, *smtp.MailOptions) error { return nil }
func (discardSession) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (discardSession) Reset()                               {}
func (discardSession) Logout() error                        { return nil }

func (s discardSession) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	s.messages.Add(1)
	return err
}
