// Validates the document in a file against the specification, and follows all its references.
import SwaggerParser from "@apidevtools/swagger-parser";

await SwaggerParser.validate(process.argv[2]);
