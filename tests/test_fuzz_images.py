"Image files with random changes are opened or refused, and nothing else; metadata never makes a file fail"
import io, struct, zlib
from functools import cache
import numpy as np
import pytest
from hypothesis import example, given, strategies as st
from PIL import Image
from fuzzing import fuzz
from tellapart.images import FORMATS, Limits, NotAPhoto, open_photo, set_up_pillow

pytestmark = pytest.mark.filterwarnings('ignore') # pytest replaces the package's own filters
LIMITS = Limits(max_pixels=10**6) # so that a wrong header takes no time


def saved(im, kind, **kw):
    im.save(f := io.BytesIO(), kind, **kw)
    return f.getvalue()


@cache
def seeds():
    "Small photos of every format, in many modes"
    set_up_pillow() # to write HEIF
    photo = Image.effect_noise((9, 7), 90).resize((72, 56), Image.Resampling.BICUBIC).convert('RGB')
    grey,clear = photo.convert('L'),photo.copy()
    clear.putalpha(grey)
    exif = Image.Exif()
    exif[0x0112],exif[0x010f],exif[0x011a] = 6,'Tellapart',72.
    deep = Image.fromarray(np.asarray(grey).astype('uint16')*16)
    files = [
        saved(photo, 'JPEG', exif=exif), saved(photo, 'JPEG', progressive=True, icc_profile=b'x'*99),
        saved(grey, 'JPEG', restart_marker_blocks=5), saved(photo.convert('CMYK'), 'JPEG'),
        saved(photo, 'MPO', save_all=True, append_images=[grey.convert('RGB')]),
        saved(photo, 'PNG', exif=exif), saved(clear, 'PNG'), saved(photo.convert('P'), 'PNG', transparency=3),
        saved(deep, 'PNG'), saved(grey.convert('1'), 'PNG'),
        saved(photo, 'GIF', comment=b'x'), saved(photo, 'BMP'), saved(clear, 'BMP'),
        saved(photo, 'WEBP', exif=exif), saved(clear, 'WEBP', lossless=True),
        saved(photo, 'AVIF', exif=exif), saved(clear, 'AVIF'), saved(photo, 'HEIF', exif=exif),
        *(saved(photo, 'TIFF', compression=o, exif=exif) for o in (None, 'tiff_lzw', 'jpeg', 'packbits')),
        saved(deep, 'TIFF'), saved(grey.convert('F'), 'TIFF'), saved(photo.resize((9, 7)), 'TIFF', save_all=True, append_images=[photo]),
        saved(photo.convert('LAB'), 'TIFF'), saved(clear.convert('LA'), 'TIFF'), saved(photo.convert('P'), 'TIFF')]
    assert {Image.open(io.BytesIO(o)).format for o in files} == {*FORMATS, 'MPO'}
    for o in files: open_photo(o)
    return files


NUMBERS = st.sampled_from([b'\0', b'\xff', b'\x80', b'\0\0', b'\xff\xff', b'\x7f\xff', b'\0\0\0\0', b'\xff'*4, b'\x7f\xff\xff\xff',
                           b'\xff\xff\xff\x7f', b'\0\0\1\0', b'\0\1\0\0']) | st.binary(min_size=1, max_size=4)
HOW = st.sampled_from(['write', 'write', 'write', 'flip', 'insert', 'delete', 'repeat', 'cut'])
CHANGES = st.lists(st.tuples(HOW, st.floats(0, 1), st.booleans(), NUMBERS), min_size=1, max_size=6)

def changed(data, changes):
    "`data` with random changes, mostly near the beginning"
    for how,at,early,value in changes:
        i = int(at*at*min(len(data), 300) if early else at*len(data))
        match how:
            case 'write': data = data[:i] + value + data[i+len(value):]
            case 'flip': data = data[:i] + bytes(o ^ value[0] for o in data[i:i+1]) + data[i+1:]
            case 'insert': data = data[:i] + value + data[i:]
            case 'delete': data = data[:i] + data[i+len(value):]
            case 'repeat': data = data[:i] + data[i:i+40]*2 + data[i+40:]
            case 'cut': data = data[:i]
    return data


def verdict(data, size=None):
    "The photo in `data`, or the reason why it is refused"
    try: photo = open_photo(data, size, LIMITS)
    except NotAPhoto as e:
        assert str(e).startswith('The photo ') and '\n' not in str(e)
        return e.reason
    assert photo.mode == 'RGB' and photo.format in (*FORMATS, 'MPO') and photo.info.keys() == {'size', 'notes'}
    saved(photo, 'JPEG')
    return photo


@fuzz
@given(st.sampled_from(seeds()), CHANGES)
def test_fuzz_bytes_are_opened_or_refused(seed, changes):
    data = changed(seed, changes)
    whole,small = verdict(data),verdict(data, 8)
    if isinstance(whole, str) or isinstance(small, str): assert whole == small
    else: assert whole.info == small.info and whole.size == whole.info['size']


HEADERS = st.sampled_from([
    b'Exif\0\0', b'Exif\0\0II*\0\x08\0\0\0', b'Exif\0\0MM\0*\0\0\0\x08', b'MPF\0', b'MPF\0II*\0\x08\0\0\0', b'ICC_PROFILE\0\x01\x02',
    b'http://ns.adobe.com/xap/1.0/\0', b'Photoshop 3.0\x008BIM\4\4', b'JFIF\0', b''])
METADATA = st.builds(lambda header, more: header + more, HEADERS, st.binary(max_size=60))
TAGS = st.sampled_from([270, 271, 274, 282, 283, 296, 305, 306, 315, 700, 33432, 33723, 34377, 34665, 34675, 34853, 36867, 37510,
                        40965, 45056, 45057, 50341]) | st.integers(0, 65535)

@st.composite
def exifs(draw):
    "EXIF with entries of any type"
    order = draw(st.sampled_from('<>'))
    counts = st.integers(0, 9) | st.sampled_from([2**31, 2**32 - 1])
    values = st.binary(min_size=4, max_size=4) | st.sampled_from([b'6\0\0\0', b'\6\0\0\0', b'\0\6\0\0', b'\0\0\0\x08'])
    entries = draw(st.lists(st.tuples(TAGS, st.integers(0, 14), counts, values), max_size=8))
    body = b''.join(struct.pack(f'{order}HHI', *o[:3]) + o[3] for o in entries)
    start = (b'II*\0' if order == '<' else b'MM\0*') + struct.pack(f'{order}IH', 8, len(entries))
    return b'Exif\0\0' + start + body + struct.pack(f'{order}I', 0) + draw(st.binary(max_size=30))

def same(photo, plain):
    "Whether two photos have equal pixels, in any orientation"
    turned = [plain, *(plain.transpose(o) for o in Image.Transpose)]
    return any(np.array_equal(np.asarray(photo), np.asarray(o)) for o in turned)

PHOTO = Image.effect_noise((9, 7), 90).resize((72, 56), Image.Resampling.BICUBIC).convert('RGB')


@fuzz
@given(st.lists(st.tuples(st.sampled_from([0xe0, 0xe1, 0xe2, 0xed, 0xef, 0xfe]), METADATA | exifs()), max_size=4), st.integers(0, 40))
@example([(0xe0, b'JFIF\0')], 0)
def test_fuzz_metadata_of_a_jpeg(segments, cut):
    plain = saved(PHOTO, 'JPEG', quality=95)
    inserted = b''.join(b'\xff' + bytes([kind]) + struct.pack('>H', len(o) + 2) + o for kind,o in segments)
    photo = open_photo(plain[:20] + inserted + plain[20:len(plain) - cut])
    assert photo.info['notes'] == (['cut short'] if cut else [])
    if not cut: assert same(photo, open_photo(plain))


CHUNKS = st.sampled_from([b'tEXt', b'zTXt', b'iTXt', b'iCCP', b'eXIf', b'pHYs', b'gAMA', b'cHRM', b'sRGB', b'acTL', b'fcTL', b'tIME',
                          b'caBX', b'sBIT', b'bKGD'])

@fuzz
@given(st.lists(st.tuples(CHUNKS, st.binary(max_size=40) | METADATA | exifs(), st.booleans()), max_size=4), st.booleans())
def test_fuzz_metadata_of_a_png(chunks, last):
    plain = saved(PHOTO, 'PNG')
    made = b''.join(struct.pack('>I', len(o)) + kind + o + struct.pack('>I', zlib.crc32(kind + o)^(not good)) for kind,o,good in chunks)
    at = len(plain) - 12 if last else 33
    assert same(open_photo(plain[:at] + made + plain[at:]), PHOTO)


@fuzz
@given(exifs(), st.sampled_from(['WEBP', 'AVIF', 'HEIF']))
def test_fuzz_exif_of_other_formats(exif, kind):
    tiff = exif[6:].ljust(40, b'\0')
    # Pillow wouldn't write every EXIF, so it writes a valid one of the same length, to be replaced
    plain = struct.pack('<4sIHHHIII', b'II*\0', 8, 1, 271, 2, len(tiff) - 26, 26, 0).ljust(len(tiff), b'x')
    data = saved(PHOTO, kind, exif=b'Exif\0\0' + plain)
    assert data.count(plain) == 1
    assert sorted(open_photo(data.replace(plain, tiff)).size) == [56, 72]


def with_tags(tiff, new):
    "A little-endian TIFF with more tags, which are then at its end"
    at, = struct.unpack_from('<I', tiff, 4)
    n, = struct.unpack_from('<H', tiff, at)
    old = [tiff[i:i+12] for i in range(at + 2, at + 2 + 12*n, 12)]
    tags = sorted(old + [struct.pack('<HHI', *o[:3]) + o[3] for o in new], key=lambda o: o[1::-1])
    return tiff[:4] + struct.pack('<I', len(tiff)) + tiff[8:] + struct.pack('<H', len(tags)) + b''.join(tags) + bytes(4) + bytes(range(64))


METADATA_TAGS = st.sampled_from([269, 270, 271, 272, 274, 282, 283, 285, 296, 297, 305, 306, 315, 316, 330, 333, 700, 33432, 33723, 34377,
                                 34665, 34675, 34853, 36867, 37510, 40965, 50341])
TAG_VALUES = st.binary(min_size=4, max_size=4) | st.sampled_from([b'6\0\0\0', b'\6\0\0\0', b'\x08\0\0\0', b'\0\x10\0\0'])
ENTRIES = st.tuples(METADATA_TAGS, st.integers(0, 18), st.integers(0, 9) | st.integers(0, 2**32 - 1), TAG_VALUES)

@fuzz
@given(st.sampled_from([None, 'tiff_lzw', 'tiff_adobe_deflate', 'jpeg']), st.lists(ENTRIES, max_size=5, unique_by=lambda o: o[0]))
def test_fuzz_tags_of_a_tiff(compression, tags):
    plain = saved(PHOTO, 'TIFF', compression=compression)
    assert same(open_photo(with_tags(plain, tags)), open_photo(plain))
