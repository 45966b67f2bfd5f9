// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Text;
using System.Xml;
using System.Xml.Linq;

namespace Tidemark.Libvirt.Xml;

/// <summary>The one way XML is read and written here: no DTD, no external entity, a size limit, and absence as null.</summary>
internal static class XmlText
{
    // A domain with every feature stays below 1 MiB.
    private const long MaxCharacters = 16 << 20;

    /// <exception cref="InvalidDataException">Not well-formed, too large, with a DTD, or with another root element.</exception>
    internal static XDocument Parse(string xml, string rootName)
    {
        var settings = new XmlReaderSettings
        {
            DtdProcessing = DtdProcessing.Prohibit,
            XmlResolver = null,
            MaxCharactersInDocument = MaxCharacters,
        };
        XDocument document;
        try
        {
            using var reader = XmlReader.Create(new StringReader(xml), settings);
            document = XDocument.Load(reader);
        }
        catch (XmlException exception)
        {
            throw new InvalidDataException($"The XML of a '{rootName}' cannot be read: {exception.Message.TrimEnd('.')}.", exception);
        }
        if (document.Root!.Name.LocalName != rootName)
            throw new InvalidDataException($"The XML holds a '{document.Root.Name.LocalName}'; a '{rootName}' is required.");
        return document;
    }

    internal static string Write(XElement root)
    {
        var text = new StringBuilder();
        using (var writer = XmlWriter.Create(text, new XmlWriterSettings { OmitXmlDeclaration = true, Indent = true }))
            root.Save(writer);
        return text.ToString();
    }

    internal static string? Text(this XElement? element, string attributeName) => element?.Attribute(attributeName)?.Value;

    internal static string? ChildText(this XElement? element, string name) =>
        element?.Element(name)?.Value.Trim() is { Length: > 0 } text ? text : null;

    internal static bool IsYes(this XElement? element, string attributeName) => element.Text(attributeName) is "yes" or "on";

    internal static int? ToInt32(string? text) =>
        int.TryParse(text, NumberStyles.Integer, CultureInfo.InvariantCulture, out var number) ? number : null;

    internal static long? ToInt64(string? text) =>
        long.TryParse(text, NumberStyles.Integer, CultureInfo.InvariantCulture, out var number) ? number : null;
}
