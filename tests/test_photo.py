"Files that are no photos for us: none may take much memory or time to be refused"
import struct, zlib
import pytest
from PIL import Image
from tellapart.photo import NotAPhoto, open_photo


def empty(file): file.touch()

def half_a_gigabyte(file):
    with file.open('wb') as f: f.write(b'\xff\xd8\xff'); f.truncate(500 * 2**20)

def many_megapixels(file): Image.new('1', (20_000, 10_000)).save(file, 'PNG')

def a_bomb(file):
    "A PNG that says it has 60,000 x 60,000 pixels"
    head = struct.pack('>IIBBBBB', 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = lambda kind, data: struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    file.write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(bytes(1000))) + chunk(b'IEND', b''))

def postscript(file): file.write_text('%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n')


@pytest.mark.parametrize('make, message', [
    (empty, 'photo.jpg is empty (0 bytes); choose another photo.'),
    (half_a_gigabyte, 'photo.jpg has 500 MB, more than the 50 MB allowed; make it smaller.'),
    (many_megapixels, 'photo.jpg has far too many pixels; make it smaller.'),
    (a_bomb, 'photo.jpg has far too many pixels; make it smaller.'),
    (postscript, 'photo.jpg is no photo that we can read; save it as JPEG or PNG.')])
def test_refused_in_a_sentence(tmp_path, make, message):
    make(tmp_path/'photo.jpg')
    with pytest.raises(NotAPhoto) as e: open_photo(tmp_path/'photo.jpg')
    assert str(e.value) == message


@pytest.mark.parametrize('kind, mode', [
    *(('png', o) for o in ('1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'I;16')), *(('tiff', o) for o in ('1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK', 'I;16')),
    *(('jpg', o) for o in ('L', 'RGB', 'CMYK')), *((kind, o) for kind in ('webp', 'heic', 'avif') for o in ('RGB', 'RGBA')), ('gif', 'P'), ('bmp', 'RGB')])
def test_opened_whatever_it_is_like(tmp_path, kind, mode):
    "A photo that is dark on the left and light on the right stays so in each format and mode that can hold it"
    im = Image.linear_gradient('L').rotate(90)
    im = im.convert('I').point(lambda v: v*257).convert('I;16') if mode == 'I;16' else im.convert(mode)
    im.save(tmp_path/f'photo.{kind}')
    dark,light = open_photo(tmp_path/f'photo.{kind}').convert('L').resize((2, 1), Image.Resampling.BOX).get_flattened_data()
    assert light - dark > 90


@pytest.mark.parametrize('kind', ['gif', 'webp', 'png', 'tiff', 'avif'])
def test_of_an_animation_the_first_picture_counts(tmp_path, kind):
    red, blue = (Image.new('RGB', (64, 48), o) for o in ('red', 'blue'))
    red.save(tmp_path/f'photo.{kind}', save_all=True, append_images=[blue])
    r, g, b = open_photo(tmp_path/f'photo.{kind}').getpixel((32, 24))
    assert r > 200 and g < 50 and b < 50
