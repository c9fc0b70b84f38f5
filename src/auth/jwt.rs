//! Tickets that are JSON Web Tokens: who somebody is, said by an issuer that is trusted, and signed.
//!
//! A key counts for one algorithm, that which follows from what it is; the token's header may name no other. So a
//! public key is never taken for the secret of an HMAC, `none` is no algorithm, and a header can bring no key along.
//! What the header may do is to choose among the keys of its algorithm (`kid`).
//!
//! Invariants: nothing of a token is looked at before its signature has been verified, but its header; a token without
//! an end is refused unless that is asked for; audience and issuer are compared whole.
//!
//! Spec: RFC 7515 (signatures), 7517 (keys), 7518 (algorithms), 7519 (claims), 8037 (Ed25519), 8725 (advice).

use std::fmt;

use hmac::Mac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use rustls::pki_types::pem::{PemObject, SectionKind};
use serde::Deserialize;
use serde_json::{Map, Value};
use x509_parser::oid_registry as oid;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey as X509PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::cryptosign::PublicKey;
use super::encoding::unbase64_url;
use super::hash::hmac;
use super::secret::Secret;
use super::ticket::TICKET_BYTES_MAX;

/// Octets of the secret of an HMAC at least (RFC 7518, section 3.2).
const SECRET_BYTES_MIN: usize = 32;

/// Octets of an authid or role out of a token.
const NAME_BYTES_MAX: usize = 255;

/// The algorithms of signatures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Algorithm {
    Hs256,
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    fn from_name(name: &str) -> Option<Algorithm> {
        match name {
            "HS256" => Some(Algorithm::Hs256),
            "RS256" => Some(Algorithm::Rs256),
            "ES256" => Some(Algorithm::Es256),
            // RFC 9864 gives it the other name.
            "EdDSA" | "Ed25519" => Some(Algorithm::EdDsa),
            _ => None,
        }
    }
}

/// The keys of those who may issue tokens.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Keys(Vec<Key>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Key {
    /// Its name, if it has one.
    kid: Option<String>,
    material: Material,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Material {
    /// HS256.
    Secret(Secret),
    /// RS256: modulus and exponent.
    Rsa(Vec<u8>, Vec<u8>),
    /// ES256: a point, not compressed.
    P256(Vec<u8>),
    /// EdDSA.
    Ed25519(PublicKey),
}

/// Why there are no keys in a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeysError {
    /// A secret has fewer than 32 octets.
    ShortSecret,
    /// There is no public key or certificate in the PEM.
    NoKey,
    /// There is a private key, which is nothing to leave with those who only verify.
    PrivateKey,
    /// A key is malformed, or of a kind that no algorithm here takes.
    Kind,
    /// It is not a JSON object with a list of `keys`.
    NotJwks,
    /// None of the keys is for signatures of an algorithm that there is here.
    NoUsableKey,
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeysError::ShortSecret => "the secret of tokens needs 32 octets or more",
            KeysError::NoKey => "the PEM holds no public key or certificate",
            KeysError::PrivateKey => "the PEM holds a private key; tokens are verified with the public one",
            KeysError::Kind => "the key is none of RSA (from 2048 bits), P-256 and Ed25519",
            KeysError::NotJwks => "not a JSON object with a list of keys",
            KeysError::NoUsableKey => "none of the keys is for HS256, RS256, ES256 or EdDSA",
        })
    }
}

impl std::error::Error for KeysError {}

impl Keys {
    /// The secret of HS256.
    pub fn from_secret(secret: Secret) -> Result<Keys, KeysError> {
        if secret.expose().len() < SECRET_BYTES_MIN {
            return Err(KeysError::ShortSecret);
        }
        Ok(Keys(vec![Key { kid: None, material: Material::Secret(secret) }]))
    }

    /// The public keys and certificates of a PEM file. Of a certificate nothing counts but its key.
    pub fn from_pem(text: &str) -> Result<Keys, KeysError> {
        let mut keys = Keys::default();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
            let (kind, der) = section.map_err(|_| KeysError::NoKey)?;
            let material = match kind {
                SectionKind::PublicKey => {
                    let (_, key) = SubjectPublicKeyInfo::from_der(&der).map_err(|_| KeysError::Kind)?;
                    Material::from_key_info(&key)
                }
                SectionKind::Certificate => {
                    let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| KeysError::Kind)?;
                    Material::from_key_info(certificate.public_key())
                }
                SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                    return Err(KeysError::PrivateKey);
                }
                _ => continue,
            };
            keys.0.push(Key { kid: None, material: material.ok_or(KeysError::Kind)? });
        }
        if keys.0.is_empty() { Err(KeysError::NoKey) } else { Ok(keys) }
    }

    /// The keys of a JSON Web Key Set. Those that are not for signatures, or for other algorithms, are left out.
    pub fn from_jwks(text: &str) -> Result<Keys, KeysError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_str(text).map_err(|_| KeysError::NotJwks)?;
        let keys: Vec<Key> = set.keys.into_iter().filter_map(Key::from_jwk).collect();
        if keys.is_empty() { Err(KeysError::NoUsableKey) } else { Ok(Keys(keys)) }
    }

    /// These keys and the others.
    pub fn and(mut self, others: Keys) -> Keys {
        self.0.extend(others.0);
        self
    }

    /// The claims of a token that one of the keys has signed.
    fn signed<'t>(&self, token: &'t str) -> Result<Vec<u8>, TokenError> {
        if token.len() > TICKET_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(TokenError::Malformed)?;
        let decoded = |part: &'t str| unbase64_url(part).ok_or(TokenError::Malformed);
        let (header, claims, signature) = (decoded(header)?, decoded(claims)?, decoded(signature)?);
        let header: Header = serde_json::from_slice(&header).map_err(|_| TokenError::Malformed)?;
        if header.crit.is_some() || header.b64.is_some() {
            return Err(TokenError::Algorithm);
        }
        let algorithm = Algorithm::from_name(&header.alg).ok_or(TokenError::Algorithm)?;
        let mut candidates = self.0.iter().filter(|key| key.material.algorithm() == algorithm).peekable();
        if candidates.peek().is_none() {
            return Err(TokenError::Algorithm);
        }
        let named = |key: &&Key| key.kid.is_none() || header.kid.is_none() || key.kid == header.kid;
        let signed = candidates.filter(named).any(|key| key.material.verify(message.as_bytes(), &signature));
        if signed { Ok(claims) } else { Err(TokenError::Signature) }
    }
}

/// The members of a header that count. A member that stands there twice is an error.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood: none is.
    crit: Option<Value>,
    /// A payload that is no base64 (RFC 7797).
    b64: Option<Value>,
}

/// The members of a key in a set that count (RFC 7518, section 6).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    k: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Key {
    /// None if the key is not for verifying signatures of an algorithm that there is here.
    fn from_jwk(jwk: Value) -> Option<Key> {
        let jwk: Jwk = serde_json::from_value(jwk).ok()?;
        let verifies = jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if jwk.purpose.as_ref().is_some_and(|purpose| purpose != "sig") || !verifies {
            return None;
        }
        let octets = |text: &Option<String>| text.as_deref().and_then(unbase64_url);
        let material = match (&*jwk.kty, jwk.crv.as_deref()) {
            ("oct", None) => Material::Secret(Secret::new(octets(&jwk.k)?)),
            ("RSA", None) => Material::rsa(&octets(&jwk.n)?, &octets(&jwk.e)?)?,
            ("EC", Some("P-256")) => Material::p256([vec![4], octets(&jwk.x)?, octets(&jwk.y)?].concat())?,
            ("OKP", Some("Ed25519")) => Material::ed25519(&octets(&jwk.x)?)?,
            _ => return None,
        };
        let named =
            jwk.alg.as_deref().is_none_or(|alg| Algorithm::from_name(alg) == Some(material.algorithm()));
        let long = !matches!(&material, Material::Secret(secret) if secret.expose().len() < SECRET_BYTES_MIN);
        (named && long).then_some(Key { kid: jwk.kid, material })
    }
}

impl Material {
    fn from_key_info(key: &SubjectPublicKeyInfo<'_>) -> Option<Material> {
        let algorithm = &key.algorithm.algorithm;
        if *algorithm == oid::OID_SIG_ED25519 {
            return Material::ed25519(&key.subject_public_key.data);
        }
        match key.parsed().ok()? {
            X509PublicKey::RSA(rsa) if *algorithm == oid::OID_PKCS1_RSAENCRYPTION => {
                Material::rsa(rsa.modulus, rsa.exponent)
            }
            X509PublicKey::EC(point) => {
                let curve = key.algorithm.parameters.as_ref()?.as_oid().ok()?;
                (curve == oid::OID_EC_P256).then(|| Material::p256(point.data().to_vec()))?
            }
            _ => None,
        }
    }

    /// From 2048 bits on.
    fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Material> {
        let digits =
            |number: &[u8]| number.iter().copied().skip_while(|octet| *octet == 0).collect::<Vec<_>>();
        let (modulus, exponent) = (digits(modulus), digits(exponent));
        let fits = (256..=1024).contains(&modulus.len()) && !exponent.is_empty();
        fits.then_some(Material::Rsa(modulus, exponent))
    }

    fn p256(point: Vec<u8>) -> Option<Material> {
        (point.len() == 65 && point[0] == 4).then_some(Material::P256(point))
    }

    fn ed25519(octets: &[u8]) -> Option<Material> {
        let octets: [u8; 32] = octets.try_into().ok()?;
        Some(Material::Ed25519(octets.into()))
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Material::Secret(_) => Algorithm::Hs256,
            Material::Rsa(..) => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
            Material::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Material::Secret(secret) => {
                hmac(secret.expose()).chain_update(message).verify_slice(signature).is_ok()
            }
            Material::Rsa(n, e) => {
                let key = RsaPublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            Material::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            Material::Ed25519(key) => {
                signature.try_into().is_ok_and(|signature| key.verify(message, signature))
            }
        }
    }
}

/// What a token must say, and what its claims are taken for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expected {
    /// Who issued it is one of these; whoever it was if there are none.
    pub issuers: Vec<String>,
    /// One of these is among those it is for. If there are none, the token must not say whom it is for.
    pub audiences: Vec<String>,
    /// How far the clock of the issuer may be off.
    pub leeway_seconds: u64,
    /// The claim that is the authid.
    pub authid_claim: String,
    /// The claim that is the role; a token may leave it out.
    pub role_claim: String,
}

impl Default for Expected {
    fn default() -> Expected {
        Expected {
            issuers: Vec::new(),
            audiences: Vec::new(),
            leeway_seconds: 5,
            authid_claim: "sub".to_owned(),
            role_claim: "role".to_owned(),
        }
    }
}

/// What a token says of whom it was issued to.
#[derive(Clone, PartialEq, Debug)]
pub struct Bearer {
    /// Who it is.
    pub authid: String,
    /// The role, if the token names one.
    pub role: Option<String>,
}

/// Why a token is refused. For logs; who sent it is told nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenError {
    /// It is no token, or too long, or what was signed is no JSON object.
    Malformed,
    /// There is no key of its algorithm, or its header asks for more than there is here.
    Algorithm,
    /// No key has signed it.
    Signature,
    /// It has ended, or says no end.
    Expired,
    /// It has not begun.
    NotYet,
    /// It is for others.
    Audience,
    /// Somebody else has issued it.
    Issuer,
    /// It does not say who it is for, or not in a text.
    Authid,
    /// The role is no text.
    Role,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TokenError::Malformed => "the token is malformed",
            TokenError::Algorithm => "there is no key of the token's algorithm",
            TokenError::Signature => "no key has signed the token",
            TokenError::Expired => "the token has expired, or has no expiry",
            TokenError::NotYet => "the token is not valid yet",
            TokenError::Audience => "the token is for another audience",
            TokenError::Issuer => "the token has another issuer",
            TokenError::Authid => "the token does not say who it is for",
            TokenError::Role => "the role in the token is not a name",
        })
    }
}

impl std::error::Error for TokenError {}

/// Verifies a token. `now_seconds` are seconds since 1970.
pub fn verify(token: &str, keys: &Keys, expected: &Expected, now_seconds: u64) -> Result<Bearer, TokenError> {
    let claims = keys.signed(token)?;
    let claims: Map<String, Value> = serde_json::from_slice(&claims).map_err(|_| TokenError::Malformed)?;
    check_time(&claims, expected, now_seconds)?;
    check_issuer(&claims, expected)?;
    check_audience(&claims, expected)?;
    let authid = name(&claims, &expected.authid_claim).ok_or(TokenError::Authid)?;
    let role = match claims.get(&expected.role_claim) {
        None | Some(Value::Null) => None,
        Some(_) => Some(name(&claims, &expected.role_claim).ok_or(TokenError::Role)?),
    };
    Ok(Bearer { authid, role })
}

fn check_time(claims: &Map<String, Value>, expected: &Expected, now_seconds: u64) -> Result<(), TokenError> {
    let now = now_seconds as f64;
    let leeway = expected.leeway_seconds as f64;
    // Who has a token without an end would have it for good.
    if time(claims, "exp")?.is_none_or(|expires| now >= expires + leeway) {
        return Err(TokenError::Expired);
    }
    if time(claims, "nbf")?.is_some_and(|begins| now + leeway < begins) {
        return Err(TokenError::NotYet);
    }
    Ok(())
}

/// Seconds, which may have a fraction (RFC 7519, section 2).
fn time(claims: &Map<String, Value>, claim: &str) -> Result<Option<f64>, TokenError> {
    match claims.get(claim) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(TokenError::Malformed),
    }
}

fn check_issuer(claims: &Map<String, Value>, expected: &Expected) -> Result<(), TokenError> {
    let issuer = claims.get("iss").and_then(Value::as_str);
    let known = issuer.is_some_and(|issuer| expected.issuers.iter().any(|known| known == issuer));
    if known || expected.issuers.is_empty() { Ok(()) } else { Err(TokenError::Issuer) }
}

/// Who does not know itself among those a token is for must refuse it (RFC 7519, section 4.1.3).
fn check_audience(claims: &Map<String, Value>, expected: &Expected) -> Result<(), TokenError> {
    let ours = |audience: &Value| {
        audience.as_str().is_some_and(|audience| expected.audiences.iter().any(|known| known == audience))
    };
    let met = match claims.get("aud") {
        None => expected.audiences.is_empty(),
        Some(Value::Array(audiences)) => audiences.iter().any(ours),
        Some(audience) => ours(audience),
    };
    if met { Ok(()) } else { Err(TokenError::Audience) }
}

fn name(claims: &Map<String, Value>, claim: &str) -> Option<String> {
    let name = claims.get(claim)?.as_str()?;
    (!name.is_empty() && name.len() <= NAME_BYTES_MAX).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    use serde_json::json;

    use super::super::cryptosign::SigningKey;
    use super::super::hash::hmac_sha256;
    use super::*;

    /// RFC 7515, appendices A.1 to A.3, and RFC 8037, appendix A.4: the public halves of the keys, and the tokens.
    const RFC_KEYS: &str = r#"{"keys":[
        {"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"},
        {"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"},
        {"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
        {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    ]}"#;
    const RFC_TOKENS: [&str; 4] = [
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA\
         6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9\
         pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Q\
         c_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARN\
         PvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6I\
         eYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9\
         pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqP\
         P3-Kg6NU1Q",
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AI\
         bQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    ];

    const NOW: u64 = 1_800_000_000;

    fn url(octets: &[u8]) -> String {
        base64_simd::URL_SAFE_NO_PAD.encode_to_string(octets)
    }

    fn secret() -> Secret {
        Secret::from("0123456789abcdef0123456789abcdef")
    }

    fn message(header: &Value, claims: &Value) -> String {
        format!("{}.{}", url(header.to_string().as_bytes()), url(claims.to_string().as_bytes()))
    }

    /// HS256 with the secret of the tests.
    fn token_with(header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        format!("{message}.{}", url(&hmac_sha256(secret().expose(), message.as_bytes())))
    }

    fn token(claims: &Value) -> String {
        token_with(&json!({"alg": "HS256", "typ": "JWT"}), claims)
    }

    fn keys() -> Keys {
        Keys::from_secret(secret()).unwrap()
    }

    fn verified(token: &str, expected: &Expected) -> Result<Bearer, TokenError> {
        verify(token, &keys(), expected, NOW)
    }

    fn refused(claims: &Value, expected: &Expected) -> Option<TokenError> {
        verified(&token(claims), expected).err()
    }

    #[test]
    fn the_tokens_of_the_rfcs_are_signed() {
        let keys = Keys::from_jwks(RFC_KEYS).unwrap();
        assert_eq!(keys.0.len(), 4);
        for token in RFC_TOKENS {
            let claims = keys.signed(token).unwrap();
            assert!(claims.starts_with(b"{\"iss\":\"joe\"") || claims == b"Example of Ed25519 signing");
            let (message, signature) = token.rsplit_once('.').unwrap();
            for damaged in [
                format!("{message}x.{signature}"),
                format!("{message}.{}", &signature[..signature.len() - 4]),
                format!("{message}.AAAA{signature}"),
                format!("{message}.{}", url(&[0; 64])),
                format!("{message}."),
                message.to_owned(),
                format!("{token}.{signature}"),
                format!("{token}="),
                format!(" {token}"),
            ] {
                assert!(keys.signed(&damaged).is_err(), "{damaged}");
            }
        }
        let expected = Expected { authid_claim: "iss".to_owned(), ..Expected::default() };
        let joe = verify(RFC_TOKENS[0], &keys, &expected, 1_300_819_380).unwrap();
        assert_eq!((&*joe.authid, joe.role), ("joe", None));
        assert_eq!(verify(RFC_TOKENS[0], &keys, &expected, NOW), Err(TokenError::Expired));
    }

    #[test]
    fn claims_become_authid_and_role() {
        let claims = json!({"sub": "alice", "role": "user", "exp": NOW + 1, "team": {"id": 7}, "other": 1});
        let alice = verified(&token(&claims), &Expected::default()).unwrap();
        assert_eq!((&*alice.authid, alice.role.as_deref()), ("alice", Some("user")));
        let email = Expected { authid_claim: "email".to_owned(), ..Expected::default() };
        assert_eq!(refused(&claims, &email), Some(TokenError::Authid));
        for (sub, role, error) in [
            (json!(""), json!("user"), TokenError::Authid),
            (json!(7), json!("user"), TokenError::Authid),
            (json!("a".repeat(256)), json!("user"), TokenError::Authid),
            (json!("alice"), json!(["user"]), TokenError::Role),
            (json!("alice"), json!(""), TokenError::Role),
        ] {
            let claims = json!({"sub": sub, "role": role, "exp": NOW + 1});
            assert_eq!(refused(&claims, &Expected::default()), Some(error), "{claims}");
        }
    }

    #[test]
    fn a_token_has_a_beginning_and_an_end() {
        let leeway = |leeway_seconds| Expected { leeway_seconds, ..Expected::default() };
        let expired = Some(TokenError::Expired);
        for (exp, expected, error) in [
            (json!(NOW + 1), leeway(0), None),
            (json!(NOW), leeway(0), expired),
            (json!(NOW), leeway(1), None),
            (json!(NOW as f64 - 0.5), leeway(0), expired),
            (json!(NOW as f64 + 0.5), leeway(0), None),
            (json!(-1), leeway(0), expired),
            (json!(1e300), leeway(0), None),
            (json!(u64::MAX), leeway(u64::MAX), None),
            (json!("2050"), leeway(0), Some(TokenError::Malformed)),
            (json!(null), leeway(0), Some(TokenError::Malformed)),
        ] {
            assert_eq!(refused(&json!({"sub": "a", "exp": exp}), &expected), error, "{exp}");
        }
        assert_eq!(refused(&json!({"sub": "a"}), &leeway(0)), expired);
        for (nbf, error) in [(NOW, None), (NOW + 5, None), (NOW + 6, Some(TokenError::NotYet))] {
            let claims = json!({"sub": "a", "exp": NOW + 100, "nbf": nbf});
            assert_eq!(refused(&claims, &Expected::default()), error, "{nbf}");
        }
    }

    #[test]
    fn a_token_is_for_its_audience_and_from_its_issuer() {
        let ours = Expected {
            audiences: vec!["fanwire".to_owned(), "wamp".to_owned()],
            issuers: vec!["https://id.example.com".to_owned()],
            ..Expected::default()
        };
        let issuer = "https://id.example.com";
        let audience = Some(TokenError::Audience);
        for (aud, iss, error) in [
            (json!("fanwire"), json!(issuer), None),
            (json!(["other", "wamp"]), json!(issuer), None),
            (json!("fanwire2"), json!(issuer), audience),
            (json!([]), json!(issuer), audience),
            (json!([["wamp"]]), json!(issuer), audience),
            (json!(null), json!(issuer), audience),
            (json!("wamp"), json!("https://id.example.com/"), Some(TokenError::Issuer)),
            (json!("wamp"), json!(null), Some(TokenError::Issuer)),
            (json!("wamp"), json!([issuer]), Some(TokenError::Issuer)),
        ] {
            let claims = json!({"sub": "a", "exp": NOW + 1, "aud": aud, "iss": iss});
            assert_eq!(refused(&claims, &ours), error, "{claims}");
        }
        let claims = json!({"sub": "a", "exp": NOW + 1});
        assert_eq!(refused(&claims, &ours), Some(TokenError::Issuer));
        // For somebody, and nobody has said that it is us.
        let claims = json!({"sub": "a", "exp": NOW + 1, "aud": "fanwire"});
        assert_eq!(refused(&claims, &Expected::default()), audience);
    }

    #[test]
    fn an_algorithm_is_that_of_the_key() {
        let claims = json!({"sub": "a", "exp": NOW + 1});
        let (any, expected) = (keys(), Expected::default());
        for alg in ["none", "None", "NONE", "nOnE", "", "hs256", "HS512", "RS256", "ES256", "EdDSA"] {
            let unsigned = format!("{}.", message(&json!({"alg": alg}), &claims));
            let signed = token_with(&json!({"alg": alg}), &claims);
            for token in [unsigned, signed] {
                assert_eq!(verify(&token, &any, &expected, NOW), Err(TokenError::Algorithm), "{alg}");
            }
        }
        // A public key as the secret of an HMAC: nobody has such a key, whatever is tried.
        let pair = SigningKey::from_seed(&[1; 32]);
        let pem = super::super::key::write_public(&pair.public(), super::super::key::Form::Pem, "");
        let public = Keys::from_pem(&pem).unwrap();
        let message = message(&json!({"alg": "HS256"}), &claims);
        for secret in [pem.as_bytes(), pair.public().octets()] {
            let token = format!("{message}.{}", url(&hmac_sha256(secret, message.as_bytes())));
            assert_eq!(verify(&token, &public, &expected, NOW), Err(TokenError::Algorithm));
        }
        for header in [
            json!({"alg": "HS256", "crit": ["exp"]}),
            json!({"alg": "HS256", "crit": []}),
            json!({"alg": "HS256", "b64": false}),
        ] {
            assert_eq!(verified(&token_with(&header, &claims), &expected), Err(TokenError::Algorithm));
        }
        for header in [json!({}), json!({"alg": 7}), json!(["HS256"]), json!({"alg": "HS256", "kid": 7})] {
            assert_eq!(verified(&token_with(&header, &claims), &expected), Err(TokenError::Malformed));
        }
    }

    #[test]
    fn members_that_stand_twice_in_a_header_are_refused() {
        let header = url(br#"{"alg":"none","alg":"HS256"}"#);
        let message = format!("{header}.{}", url(json!({"sub": "a", "exp": NOW + 1}).to_string().as_bytes()));
        let token = format!("{message}.{}", url(&hmac_sha256(secret().expose(), message.as_bytes())));
        assert_eq!(verified(&token, &Expected::default()), Err(TokenError::Malformed));
    }

    #[test]
    fn a_name_chooses_among_the_keys() {
        let jwk = |kid: &str, octets: &[u8]| json!({"kty": "oct", "kid": kid, "k": url(octets)});
        let jwks = json!({"keys": [jwk("old", &[9; 32]), jwk("new", secret().expose())]}).to_string();
        let keys = Keys::from_jwks(&jwks).unwrap();
        let claims = json!({"sub": "a", "exp": NOW + 1});
        for (kid, error) in
            [("new", None), ("old", Some(TokenError::Signature)), ("x", Some(TokenError::Signature))]
        {
            let token = token_with(&json!({"alg": "HS256", "kid": kid}), &claims);
            assert_eq!(verify(&token, &keys, &Expected::default(), NOW).err(), error, "{kid}");
        }
        assert!(verify(&token(&claims), &keys, &Expected::default(), NOW).is_ok());
        assert!(verify(&token(&claims), &Keys::default().and(keys), &Expected::default(), NOW).is_ok());
    }

    #[test]
    fn keys_come_from_pem_and_certificates() {
        let claims = json!({"sub": "a", "exp": NOW + 1});
        let message = message(&json!({"alg": "ES256"}), &claims);
        let random = SystemRandom::new();
        let issued = rcgen::generate_simple_self_signed(vec!["issuer".to_owned()]).unwrap();
        let der = issued.signing_key.serialize_der();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &random).unwrap();
        assert_eq!(pair.public_key().as_ref().len(), 65);
        let token = format!("{message}.{}", url(pair.sign(&random, message.as_bytes()).unwrap().as_ref()));
        for pem in [issued.signing_key.public_key_pem(), issued.cert.pem()] {
            let keys = Keys::from_pem(&pem).unwrap();
            assert!(verify(&token, &keys, &Expected::default(), NOW).is_ok(), "{pem}");
            for end in 0..pem.len() - 30 {
                assert!(Keys::from_pem(&pem[..end]).is_err());
            }
        }
        let private = issued.signing_key.serialize_pem();
        assert_eq!(Keys::from_pem(&private).err(), Some(KeysError::PrivateKey));
        assert_eq!(Keys::from_pem("").err(), Some(KeysError::NoKey));
        assert_eq!(Keys::from_secret(Secret::from("short")).err(), Some(KeysError::ShortSecret));
        // RSA, made by openssl.
        assert!(matches!(Keys::from_pem(RSA_2048).unwrap().0[0].material, Material::Rsa(..)));
        assert_eq!(Keys::from_pem(RSA_1024).err(), Some(KeysError::Kind));
        assert_eq!(Keys::from_pem(P_384).err(), Some(KeysError::Kind));
    }

    const RSA_2048: &str = "-----BEGIN PUBLIC KEY-----\n\
        MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAk5v1tflrPvZK/aHbwUdG\n\
        1+HOkZRMkA3Kh3yWYc3JYPQCtryK+Xg1brjuSoZ9zSx2m+JzTvPNXveXA5MS+y1l\n\
        ZHCe7xagL5WC0oYZi1B35wi5WCc3YqbdUb9ztgRW5oySGCXT1gM4Vj1Ub7H1sJQj\n\
        MTiAW1KHKerkFtsvHV/iF40ExT8/cRQcG1lRdqftqPOyM3Js4cX9Gug77pVqjbBc\n\
        6vduUhyFwCGKhWvMQfCMvpBnvC+EHMyP164t7I5uPEG5fuqGtRlneFXxmgQLMe7d\n\
        yZ+hp55pO0HBQLtsyqaU9MBCwCCTyLs3HeElVXmtbtV632Ocbm78KOVULY5H3wyy\n\
        LQIDAQAB\n\
        -----END PUBLIC KEY-----";
    const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----\n\
        MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDocYkuaZvrgdN0T4F5rvgcI8TN\n\
        WfpLk/cZHxDiI2VRWWP1yjEP2z3VPsBqtaPJBQtQRbixnBK7ndipBiSKxyxulOL/\n\
        fC+g+c84fqzGNGXFTFHhSFI8UsJJ2pynTSEnq0xjrXf3i54oLHQdVpDYqXtybxs4\n\
        Hi4rXSu1E04OJyEAZwIDAQAB\n\
        -----END PUBLIC KEY-----";
    const P_384: &str = "-----BEGIN PUBLIC KEY-----\n\
        MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE9kc5DvfM/M3CjiG4+9ec4PHzHRQT2kQy\n\
        XDESI2qjrQAjusetBl+GO8rVRFjwad1nP1ioDbUmozqlEG1EKbQhnQ+tGtL8VLk/\n\
        LAnZkWQKpXeK13A3gRu2yBL//UiPl4cc\n\
        -----END PUBLIC KEY-----";

    #[test]
    fn keys_of_a_set_that_are_for_something_else_are_left_out() {
        let k = url(&[1; 32]);
        for (jwks, error) in [
            (json!([]), KeysError::NotJwks),
            (json!({}), KeysError::NotJwks),
            (json!({"keys": {}}), KeysError::NotJwks),
            (json!({"keys": []}), KeysError::NoUsableKey),
            (json!({"keys": [7, {}, {"kty": "oct"}]}), KeysError::NoUsableKey),
            (json!({"keys": [{"kty": "oct", "k": url(&[1; 31])}]}), KeysError::NoUsableKey),
            (json!({"keys": [{"kty": "oct", "k": k, "use": "enc"}]}), KeysError::NoUsableKey),
            (json!({"keys": [{"kty": "oct", "k": k, "key_ops": ["sign"]}]}), KeysError::NoUsableKey),
            (json!({"keys": [{"kty": "oct", "k": k, "alg": "HS512"}]}), KeysError::NoUsableKey),
            (json!({"keys": [{"kty": "oct", "k": k, "alg": "RS256"}]}), KeysError::NoUsableKey),
            (json!({"keys": [{"kty": "OKP", "crv": "X25519", "x": k}]}), KeysError::NoUsableKey),
            (json!({"keys": [{"kty": "EC", "crv": "P-384", "x": k, "y": k}]}), KeysError::NoUsableKey),
            (json!({"keys": [{"kty": "RSA", "n": k, "e": "AQAB"}]}), KeysError::NoUsableKey),
        ] {
            assert_eq!(Keys::from_jwks(&jwks.to_string()).err(), Some(error), "{jwks}");
        }
        assert_eq!(Keys::from_jwks("{").err(), Some(KeysError::NotJwks));
    }

    #[test]
    fn what_is_no_token_is_refused_whatever_it_is() {
        let good = token(&json!({"sub": "a", "exp": NOW + 1}));
        assert!(verified(&good, &Expected::default()).is_ok());
        for end in 0..good.len() {
            assert!(verified(&good[..end], &Expected::default()).is_err());
        }
        let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        let message = format!("{}.{}", url(br#"{"alg":"HS256"}"#), url(deep.as_bytes()));
        let deep = format!("{message}.{}", url(&hmac_sha256(secret().expose(), message.as_bytes())));
        let long = format!("{good}{}", "A".repeat(TICKET_BYTES_MAX));
        for token in ["", ".", "..", "...", "a.b.c", "é.é.é", &deep, &long, "secret!!!"] {
            assert_eq!(verified(token, &Expected::default()), Err(TokenError::Malformed), "{token:.80}");
        }
        assert_eq!(refused(&json!("text"), &Expected::default()), Some(TokenError::Malformed));
    }
}
