//! An OCI image layout (OCI image-spec 1.1) of the *compat* variant of Wasm images: an ordinary image
//! whose last layer has the module, which Istio, Envoy Gateway and Higress read, and every registry
//! and tool takes.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Files, archive, pretty, sha256};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image, ready to be written.
pub(super) struct Image {
    blobs: Vec<Vec<u8>>,
    manifest: Vec<u8>,
}

impl Image {
    /// Makes an image of archives, the lowest layer first.
    pub(super) fn new(layers: &[&[u8]], annotations: &[(&str, &str)]) -> Result<Self> {
        let mut blobs = Vec::new();
        for layer in layers {
            blobs.push(archive::gzip(layer)?);
        }
        let layer_descriptors: Vec<_> = blobs.iter().map(|blob| descriptor(LAYER, blob)).collect();
        let contents: Vec<_> = layers.iter().map(|layer| digest(layer)).collect();
        // Who pulls without saying for which machine gets this one; a module runs on all.
        let config = pretty(&json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": contents },
        }));
        let annotations: serde_json::Map<_, _> = annotations
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
            .collect();
        let manifest = pretty(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, config.as_bytes()),
            "layers": layer_descriptors,
            "annotations": annotations,
        }));
        blobs.push(config.into_bytes());
        Ok(Self {
            blobs,
            manifest: manifest.into_bytes(),
        })
    }

    /// Writes it as a layout, with `tag` as its name in it.
    pub(super) fn write(&self, folder: &str, tag: &str, files: &mut Files) -> Result<()> {
        for blob in self.blobs.iter().chain([&self.manifest]) {
            files.write(&format!("{folder}/blobs/sha256/{}", sha256(blob)), blob)?;
        }
        let mut manifest = descriptor(MANIFEST, &self.manifest);
        manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest] });
        files.write(&format!("{folder}/index.json"), pretty(&index).as_bytes())?;
        let layout = json!({ "imageLayoutVersion": "1.0.0" });
        files.write(&format!("{folder}/oci-layout"), pretty(&layout).as_bytes())
    }
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(blob), "size": blob.len() })
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_descriptor_names_a_blob_by_its_digest_and_size() {
        let image = Image::new(&[b"documents", b"module"], &[]).expect("an image");
        let manifest: Value = serde_json::from_slice(&image.manifest).expect("JSON");
        let layers = manifest["layers"].as_array().expect("layers");
        let described: Vec<_> = layers.iter().chain([&manifest["config"]]).collect();
        assert_eq!(described.len(), image.blobs.len());
        for (descriptor, blob) in described.into_iter().zip(&image.blobs) {
            assert_eq!(descriptor["digest"], digest(blob));
            assert_eq!(descriptor["size"], blob.len());
        }
    }

    #[test]
    fn the_configuration_names_the_layers_by_what_they_expand_to() {
        let image = Image::new(&[b"documents", b"module"], &[]).expect("an image");
        let config: Value = serde_json::from_slice(&image.blobs[2]).expect("JSON");
        let expected = json!([digest(b"documents"), digest(b"module")]);
        assert_eq!(config["rootfs"]["diff_ids"], expected);
    }

    #[test]
    fn the_same_layers_are_the_same_image() {
        let image = || Image::new(&[b"documents", b"module"], &[("a", "b")]).expect("an image");
        assert_eq!(image().manifest, image().manifest);
    }
}
