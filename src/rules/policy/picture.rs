//! Reads an image's format and its size in pixels from its head alone.
//!
//! A few hundred bytes can unpack to gigabytes, which the upstream would try to hold. Nothing is unpacked here.

/// Largest number of pixels. Unpacked, each takes four to eight bytes in the upstream.
pub const PIXELS_MAX: u64 = 32 * 1024 * 1024;

/// Checks an image; an error says what is wrong, to be put after the name of the image's field.
pub fn check(image: &[u8]) -> Result<(), String> {
    let size = match image {
        [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, head @ ..] => of_png(head),
        [0xFF, 0xD8, segments @ ..] => of_jpeg(segments),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', chunks @ ..] => of_webp(chunks),
        _ => return Err("is no image in PNG, JPEG or WebP".into()),
    };
    let Some((width, height)) = size.filter(|(width, height)| *width > 0 && *height > 0) else {
        return Err("is cut off or damaged: its size can't be read".into());
    };
    if u64::from(width) * u64::from(height) > PIXELS_MAX {
        return Err(format!("has {width} x {height} pixels; an image may have at most {PIXELS_MAX}"));
    }
    Ok(())
}

type Size = (u32, u32);

fn big(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn little(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn of_png(head: &[u8]) -> Option<Size> {
    let size = head.get(8..16).filter(|_| &head[4..8] == b"IHDR")?;
    Some((big(&size[..4]), big(&size[4..])))
}

/// Reads the size from the head of the first frame. Segments before it have a length and are skipped.
fn of_jpeg(mut segments: &[u8]) -> Option<Size> {
    loop {
        let (mark, rest) = match segments {
            // Fill byte.
            [0xFF, 0xFF, ..] => {
                segments = &segments[1..];
                continue;
            }
            [0xFF, mark, rest @ ..] => (*mark, rest),
            _ => return None,
        };
        match mark {
            // Markers without a length.
            0x01 | 0xD0..=0xD8 => segments = rest,
            0xC4 | 0xC8 | 0xCC => segments = rest.get(segment(rest)?..)?,
            0xC0..=0xCF => {
                let size = rest.get(3..7)?;
                return Some((big(&size[2..]), big(&size[..2])));
            }
            // Pixels or the end, without a size before.
            0xD9 | 0xDA => return None,
            _ => segments = rest.get(segment(rest)?..)?,
        }
    }
}

fn segment(rest: &[u8]) -> Option<usize> {
    rest.get(..2).map(|length| big(length) as usize).filter(|length| *length >= 2)
}

/// Returns the largest size in any chunk: the size of the canvas need not be that of the pixels.
fn of_webp(mut chunks: &[u8]) -> Option<Size> {
    let mut largest: Option<Size> = None;
    while let Some(length) = chunks.get(4..8) {
        let (kind, length) = (&chunks[..4], little(length) as usize);
        let content = &chunks[8..];
        let size = match kind {
            b"VP8 " => content
                .get(..10)
                .filter(|head| head[3..6] == [0x9D, 0x01, 0x2A])
                .map(|head| (little(&head[6..8]) & 0x3FFF, little(&head[8..10]) & 0x3FFF)),
            b"VP8L" => content.get(..5).filter(|head| head[0] == 0x2F).map(|head| {
                let bits = little(&head[1..]);
                ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
            }),
            b"VP8X" => content.get(..10).map(|head| (little(&head[4..7]) + 1, little(&head[7..10]) + 1)),
            _ => None,
        };
        let pixels = |(width, height): Size| u64::from(width) * u64::from(height);
        largest = size.into_iter().chain(largest).max_by_key(|size| pixels(*size));
        // Chunks begin at even offsets.
        let Some(rest) = length.checked_add(length & 1).and_then(|length| content.get(length..)) else { break };
        chunks = rest;
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", &width.to_be_bytes()[..], &height.to_be_bytes(), b"\x08\x06\0\0\0"].concat()
    }

    fn jpeg(width: u16, height: u16) -> Vec<u8> {
        let head = [b"\xFF\xD8\xFF\xE0\0\x04ab\xFF\xFF\xC4\0\x02\xFF\xC2\0\x0B\x08", &height.to_be_bytes()[..]];
        [&head.concat()[..], &width.to_be_bytes(), b"\x01\x01\x11\0"].concat()
    }

    fn webp(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut image = b"RIFF\0\0\0\0WEBP".to_vec();
        for (kind, content) in chunks {
            image.extend_from_slice(*kind);
            image.extend_from_slice(&(content.len() as u32).to_le_bytes());
            image.extend_from_slice(content);
            image.resize(image.len() + content.len() % 2, 0);
        }
        image
    }

    fn vp8(width: u16, height: u16) -> Vec<u8> {
        [&b"\0\0\0\x9D\x01\x2A"[..], &width.to_le_bytes(), &height.to_le_bytes()].concat()
    }

    #[test]
    fn an_image_of_the_most_pixels_passes_and_a_larger_one_does_not() {
        for (fits, too_large) in [
            (png(8192, 4096), png(8192, 4097)),
            (jpeg(8192, 4096), jpeg(8193, 4096)),
            (webp(&[(b"VP8 ", &vp8(8192, 4096))]), webp(&[(b"VP8 ", &vp8(8192, 4097))])),
            (
                webp(&[(b"VP8L", &[&[0x2F][..], &(8191_u32 | 4095 << 14).to_le_bytes()].concat())]),
                webp(&[(b"VP8L", &[&[0x2F][..], &(8191_u32 | 4096 << 14).to_le_bytes()].concat())]),
            ),
            (
                webp(&[(b"VP8X", b"\0\0\0\0\xFF\x1F\0\xFF\x0F\0")]),
                webp(&[(b"VP8X", b"\0\0\0\0\0\0\0\0\0\0"), (b"ICCP", b"abc"), (b"VP8 ", &vp8(16383, 16383))]),
            ),
        ] {
            assert_eq!(check(&fits), Ok(()));
            assert!(check(&too_large).unwrap_err().contains("pixels"), "{too_large:?}");
        }
        assert!(check(&png(u32::MAX, u32::MAX)).is_err());
        assert!(check(&png(0, 1)).is_err());
    }

    #[test]
    fn what_is_cut_off_anywhere_in_its_head_is_refused() {
        for image in [png(1, 1), jpeg(1, 1), webp(&[(b"VP8 ", &vp8(1, 1))])] {
            assert_eq!(check(&image), Ok(()));
            let head = (0..=image.len()).find(|length| check(&image[..*length]).is_ok()).unwrap();
            assert!(head > 16);
            for length in 0..head {
                assert!(check(&image[..length]).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn other_formats_and_other_things_are_no_images() {
        for image in [
            &b""[..],
            b"hello",
            b"GIF89a\x01\0\x01\0",
            b"BM",
            b"II*\0",
            b"<svg/>",
            b"\xFF\xD8",
            b"\xFF\xD8\xFF\xD9",
            b"\xFF\xD8\xFF\xE0\0\0",
        ] {
            assert!(check(image).is_err(), "{image:?}");
        }
    }
}
