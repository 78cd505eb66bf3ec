// handlers.go: the table of the endpoints that there are.

package registration

import (
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/internal/web/authz"
	"github.com/seed-928992b0/caddy-registration/internal/web/factors"
	"github.com/seed-928992b0/caddy-registration/internal/web/self"
	"github.com/seed-928992b0/caddy-registration/internal/web/signin"
	"github.com/seed-928992b0/caddy-registration/internal/web/signup"
)

// endpoints are all that there are. Each is one value in a file of its own, made
// for a configuration.
var endpoints = []func(*web.Realm) *web.Endpoint{
	signup.EndpointRegister, signup.EndpointVerifyRegistration, signup.EndpointResendVerification, signup.EndpointCorrectEmail,
	signin.EndpointLogin, signin.EndpointLoginFactor, signin.EndpointStepUp, signin.EndpointSendLoginCode, signin.EndpointLoginCode, signin.EndpointPasskeyLoginOptions, signin.EndpointPasskeyLogin, signin.EndpointOIDCLogin, signin.EndpointOIDCRegister, signin.EndpointLinkOIDC, signin.EndpointUnlinkOIDC, signin.EndpointLinkedAccounts, signin.EndpointLogout, signin.EndpointRefreshToken, signin.EndpointSessions, signin.EndpointRevokeSession, signin.EndpointEndSignIn,
	self.EndpointProfile, self.EndpointLanguage, self.EndpointChangePassword, self.EndpointSendResetPasswordLink, self.EndpointResetPassword, self.EndpointSetPassword,
	self.EndpointRegisterEmail, self.EndpointVerifyEmail, self.EndpointUndoEmail, self.EndpointEmails, self.EndpointPrimaryEmail, self.EndpointRemoveEmail, self.EndpointExport, self.EndpointDeleteAccount,
	self.EndpointTokens, self.EndpointCreateToken, self.EndpointRevokeToken,
	factors.EndpointFactors, factors.EndpointEnrolTOTP, factors.EndpointTOTPPicture, factors.EndpointConfirmTOTP, factors.EndpointPasskeyOptions, factors.EndpointAddPasskey, factors.EndpointRecoveryCodes,
	factors.EndpointRemoveFactor, factors.EndpointRenameFactor, factors.EndpointUndoFactor,
	factors.EndpointTrustedDevices, factors.EndpointRevokeTrustedDevice,
	authz.EndpointForwardAuth, authz.EndpointAuthRequest,
	web.EndpointOpenAPI, signin.EndpointJWKS,
}
